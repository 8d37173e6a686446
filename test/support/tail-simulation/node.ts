// One node of the simulated cluster: a volume, and the process that runs on it. Every flow is the production code's, as the supervisor calls it.

import { AppError, messageOf } from "../../../src/base/errors.ts";
import { noCipher } from "../../../src/codec/encryption.ts";
import { type Lsn, formatLsn, lsnOf } from "../../../src/wal/lsn.ts";
import { PAGE_BYTES } from "../../../src/wal/page.ts";
import { RecordWalk } from "../../../src/wal/record.ts";
import { type Segment, segmentFloor, segmentName } from "../../../src/wal/segment-name.ts";
import {
  extendPath,
  lastStep,
  ownerAt,
  pathUpTo,
  samePath,
  startsWithPath,
} from "../../../src/wal/timeline-path.ts";
import { assembleSegment, clipSegment } from "../../../src/tail/assemble.ts";
import { HistoryRefusedError } from "../../../src/tail/errors.ts";
import { planGenesis } from "../../../src/tail/genesis.ts";
import { type Junction, bytesToCompare, decideJunction } from "../../../src/tail/junction.ts";
import { LogOwner } from "../../../src/tail/owner.ts";
import { fetchPublished, publishedSource } from "../../../src/tail/publish.ts";
import { type LogView, readLog } from "../../../src/tail/read.ts";
import { type Claim, takeOver } from "../../../src/tail/take-over.ts";
import { below } from "../random.ts";
import { WalBuilder } from "../wal-builder.ts";
import { Process } from "./process.ts";
import { Server, historyFile, recordsEnd } from "./server.ts";
import type { Action, World } from "./world.ts";

/** WAL received from a primary, ending anywhere a stream may end. */
interface Received {
  readonly bytes: Buffer;
  readonly end: Lsn;
  readonly path: Server["path"];
  readonly promotion: string;
}

type Backfill = Extract<Junction, { kind: "bring" }>["backfill"];
type Promotion = "promote" | "restore" | "cut" | "short";

export class Node {
  readonly name: string;
  readonly #world: World;
  /** The volume of a primary. */
  server: Server | null = null;
  /** The volume of a standby. */
  #received: Received | null = null;
  #snapshot: Server | null = null;
  #process: Process | null = null;
  #owner: LogOwner | null = null;
  #starts = 0;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
  }

  /** The machine is started a second time from a copy of its volume while the first one runs on: two of one name. Null without a volume. */
  twin(): Node | null {
    if (this.server === null || this.#process === null) return null;
    const twin = new Node(this.#world, this.name);
    const isBoth = this.#world.random() < 0.5; // both of them start, at the same time
    if (isBoth) this.#kill();
    twin.server = this.server.snapshot();
    twin.#starts = this.#starts + 100;
    twin.start();
    if (isBoth) this.start();
    return twin;
  }

  act(action: Action): void {
    const { random } = this.#world;
    switch (action) {
      case "start":
        return this.start();
      case "kill":
        return this.#kill();
      case "pause":
        return this.#process?.pause();
      case "resume":
        return this.#process?.resume();
      case "stop":
        return void this.#owner?.stop(60_000).catch(() => undefined);
      case "damage":
        this.#kill();
        return this.server?.loseAPage(random);
      case "lose":
        if (random() < 0.4) this.#loseVolume();
        return undefined;
      case "snapshot":
        if (this.server !== null) this.#snapshot = this.server.snapshot();
        return undefined;
      case "roll back":
        return this.#rollBack();
      case "follow":
        return this.#follow();
      case "promote":
      case "restore":
      case "cut":
      case "short":
        return this.#lead(action);
      case "blind":
        return this.#promoteBlindly();
      case "read":
      case "twin":
      case "trouble":
        return undefined;
      default:
        return action satisfies never;
    }
  }

  /** A primary comes up on its volume. */
  start(): void {
    if (this.server === null || this.#process !== null) return;
    this.#launch(async (process) => {
      const claim = await this.#takeOver(process, "start");
      await this.#junction(process, claim);
    });
  }

  /** The last act: an empty machine restores everything, and its log goes on. Throws when it cannot. */
  async inherit(): Promise<void> {
    const process = new Process(this.name, this.#world.clock);
    const { truth } = this.#world;
    if (truth.tip === null) return;
    const winner = truth.winner();
    const wanted = truth.winnerRecordEnd();
    const claim = await this.#takeOver(process, "restore");
    const served = await this.#fetch(process, claim.view);
    await this.#checkFiles(process, claim.view);
    const end = recordsEnd(this.#start, served, claim.identity.segmentBytes);
    if (end !== wanted)
      this.#world.fail(`I7: a restore ends at ${formatLsn(end)}, the log at ${formatLsn(wanted)}`);
    const same = Number((end < claim.view.tip!.end ? end : claim.view.tip!.end) - this.#start);
    if (Buffer.compare(served.subarray(0, same), winner.subarray(0, same)) !== 0) {
      this.#world.fail("I7: a restore gives other bytes than the log holds");
    }
    await using owner = this.#makeOwner(process, claim);
    const parent = claim.view.tip!;
    await this.#promoteOn(owner, process, served, end, { parent, cut: false });
    const server = this.server!;
    for (let i = 0; i < 4; i += 1) server.wal.record({ bytes: 20_000 });
    server.flush();
    await this.#streamOnce(owner, server);
    await owner.flush();
    if (!(await owner.stop(600_000))) this.#world.fail("I8: a new owner cannot settle and make its base");
    this.#world.truth.acknowledged(
      claim.epoch,
      0,
      { from: this.#start, recordsEnd: server.wal.end },
      (from, to) => server.bytes(from, to),
    );
  }

  /** A reader, a drill: what it gets is checked against the truth (I6). */
  async read(process: Process): Promise<void> {
    const { truth } = this.#world;
    const acked = truth.ackedNext;
    const view = await readLog(this.#storeFor(process), this.#readOptions(process));
    if (view === null) {
      if (acked > 0) this.#world.fail(`I6: a reader found no log, ${acked} was acknowledged`);
      return;
    }
    if (view.firstFree < acked)
      this.#world.fail(`I6: a reader got ${view.firstFree}, acknowledged was ${acked}`);
    this.#checkPrefix(view);
    if (view.tip === null) return;
    const { path, end } = view.tip;
    const from = segmentFloor(lsnOf(end > this.#start ? end - 1n : end), view.identity.segmentBytes);
    const segment = {
      timeline: ownerAt(path, lsnOf(end > from ? end - 1n : end)),
      number: from / BigInt(view.identity.segmentBytes),
    };
    const answer = await assembleSegment(view, segment, path, this.#assembleTools(process));
    const wanted = truth.compose(path, end, from);
    if (wanted === null) this.#world.fail("I6: a reader's end is not accepted");
    else if (
      answer.kind === "assembled" &&
      Buffer.compare(answer.bytes.subarray(0, wanted.length), wanted) !== 0
    ) {
      this.#world.fail("I6: a reader got other bytes than the log holds");
    }
    this.#world.count("read done");
  }

  get #start(): Lsn {
    return lsnOf(0x1000000n);
  }

  #checkPrefix(view: LogView): void {
    const { truth } = this.#world;
    for (const { header, headerHash } of view.slots) {
      if (truth.hashAt(header.seq) !== headerHash)
        this.#world.fail(`I6: a reader accepted another object at ${header.seq}`);
    }
    if (view.firstFree > truth.firstFree) this.#world.fail("I6: a reader got more than the log holds");
  }

  #launch(work: (process: Process) => Promise<void>): void {
    this.#starts += 1;
    const process = new Process(`${this.name}.${this.#starts}`, this.#world.clock);
    this.#process = process;
    if (this.#world.random() < 0.2) this.#stumble(process);
    work(process)
      .catch((error: unknown) => {
        this.#world.log.info("a process ended", { process: process.name, because: messageOf(error) });
        if (process.isAlive && !(error instanceof AppError)) {
          this.#world.fail(`${process.name}: ${error instanceof Error ? error.stack : String(error)}`);
        }
        if (process.isAlive && (error as { code?: string }).code === "LOG_DAMAGED") {
          this.#world.fail(`damage seen by ${process.name}: ${messageOf(error)}`);
        }
      })
      .finally(() => {
        if (this.#process === process) this.#kill();
      });
  }

  /** Stands still for a while soon after its start, in the middle of a takeover as like as not. */
  #stumble(process: Process): void {
    const { clock, random } = this.#world;
    clock.after(below(random, 1_500), () => {
      process.pause();
      clock.after(below(random, 90_000), () => process.resume());
    });
  }

  #kill(): void {
    const process = this.#process;
    if (process === null) return;
    this.#process = null;
    this.#owner = null;
    process.kill();
    if (this.server !== null) this.server.crash(this.#world.random);
  }

  #loseVolume(): void {
    this.#kill();
    this.server = null;
    this.#received = null;
  }

  #rollBack(): void {
    if (this.#snapshot === null) return;
    this.#kill();
    this.server = this.#snapshot;
    this.#received = null;
    this.#snapshot = null;
    this.#world.count("rolled back");
    if (this.#world.random() < 0.4) this.#serveWithoutStore(this.server);
  }

  /** Comes up while the store is away and accepts writes that the log never sees (G7). */
  #serveWithoutStore(server: Server): void {
    server.recover();
    for (let i = 0; i < 6; i += 1) server.write(this.#world.random);
    server.flush();
    this.#world.count("served without the store");
  }

  /** Becomes a standby of some primary and receives what that one has sent so far. */
  #follow(): void {
    if (this.#process !== null) return;
    const primaries = this.#world.nodes.filter(
      (node) => node !== this && node.server !== null && node.#owner?.durable != null,
    );
    const primary = primaries[below(this.#world.random, primaries.length)];
    if (primary === undefined) return;
    const { server } = primary;
    if (server === null) return;
    const { flushed, wal } = server;
    const page = lsnOf(flushed - (flushed % BigInt(PAGE_BYTES)));
    const end =
      this.#world.random() < 0.3 && page > wal.start && page >= lastStep(server.path).begin ? page : flushed;
    if (this.#world.random() < 0.2) primary.#kill();
    this.server = null;
    this.#received = {
      bytes: server.bytes(wal.start, end),
      end,
      path: server.path,
      promotion: server.promotion,
    };
    this.#world.count("followed");
  }

  /** `promote --force` with the store away (G1): brings its timeline later, or becomes a suspect. */
  #promoteBlindly(): void {
    if (this.#received === null) this.#follow();
    const received = this.#received;
    if (received === null || this.#process !== null) return;
    const end = recordsEnd(this.#start, received.bytes, this.#world.identity.segmentBytes);
    if (end > received.end || end < lastStep(received.path).begin) return;
    this.#becomePrimary(received.bytes, end, received, lastStep(received.path).timeline + 1);
    for (let i = 0; i < 3; i += 1) this.server!.write(this.#world.random);
    this.#world.count("blind promotion");
    if (this.#world.random() < 0.5) this.start();
  }

  #becomePrimary(
    bytes: Uint8Array,
    fork: Lsn,
    parent: { readonly path: Server["path"]; readonly promotion: string },
    timeline: number,
  ): void {
    const { systemId, segmentBytes } = this.#world.identity;
    const wal = WalBuilder.resume(bytes, this.#start, fork, { timeline, systemId, segmentBytes });
    this.server = new Server({
      wal,
      path: extendPath(parent.path, timeline, fork),
      promotion: this.#world.drawToken(),
      parentPromotion: parent.promotion,
    });
    this.#received = null;
  }

  /** The gate: fence, fetch, replay, promote, bring the history, open. */
  #lead(how: Promotion): void {
    if (this.#process !== null || this.server !== null) return;
    const { random } = this.#world;
    this.#launch(async (process) => {
      const claim = await this.#takeOver(
        process,
        how === "promote" || how === "short" ? "promote" : "restore",
      );
      if (claim.view.tip === null) return;
      const parent = claim.view.tip;
      const served = await this.#fetch(process, claim.view);
      process.mustLive();
      const local = how === "restore" ? served : this.#union(served, claim.view);
      if (local === null) return this.#loseVolume();
      let end = recordsEnd(this.#start, local, claim.identity.segmentBytes);
      if (how === "cut" || how === "short") end = this.#earlier(local, end);
      const owner = this.#makeOwner(process, claim);
      const cut = how === "cut" && end < recordsEnd(this.#start, served, claim.identity.segmentBytes);
      const before = this.server;
      try {
        await this.#promoteOn(owner, process, local, end, { parent, cut });
      } catch (error) {
        // Refused or killed before its history was accepted: a restore starts over, a promotion comes again by S2.
        const isOver = how !== "promote" || error instanceof HistoryRefusedError;
        if (isOver && this.server !== before && this.#process === null) this.server = null;
        if (isOver && this.#process === process) this.server = null;
        throw error;
      }
      this.#world.count(`${how} done`);
      await this.#lead2(owner, process, random);
    });
  }

  async #promoteOn(
    owner: LogOwner,
    process: Process,
    local: Uint8Array,
    fork: Lsn,
    { parent, cut }: { readonly parent: NonNullable<LogView["tip"]>; readonly cut: boolean },
  ): Promise<void> {
    const leaves = cut ? ownerAt(parent.path, fork) : parent.timeline;
    const path = pathUpTo(parent.path, leaves)!;
    await process.clock.sleep(below(this.#world.random, 500));
    process.mustLive();
    const timeline = owner.view.lastTimeline + 1;
    this.#becomePrimary(local, fork, { path, promotion: parent.promotion }, timeline);
    const server = this.server!;
    await owner.begin({ kind: "bring" });
    this.#acknowledge(owner, process, server);
    const backfill = !cut && fork > parent.end ? { from: parent.end, to: fork } : null;
    await this.#bring(owner, server, { cut, backfill, parent: leaves });
  }

  /** S2: the parent's bytes up to the fork, the history slot, the doors. */
  async #bring(
    owner: LogOwner,
    server: Server,
    {
      cut,
      backfill,
      parent,
    }: { readonly cut: boolean; readonly backfill: Backfill; readonly parent: number },
  ): Promise<void> {
    const { timeline, begin: fork } = lastStep(server.path);
    if (backfill !== null) {
      for (let at = backfill.from; at < backfill.to;) {
        const to = backfill.to - at > 10_000n ? lsnOf(at + 10_000n) : backfill.to;
        await owner.append(at, parent, server.bytes(at, to));
        at = to;
      }
      this.#world.count("backfill");
    }
    const { promotion } = server;
    await owner.history({ timeline, parent, fork, promotion, cut, body: historyFile(server.path) });
    this.#world.count("history accepted");
  }

  /** T6 and what follows from it. */
  async #junction(process: Process, claim: Claim): Promise<void> {
    process.mustLive();
    const server = this.server!;
    const owner = this.#makeOwner(process, claim);
    const decision = await this.#decide(owner, claim, server);
    this.#world.count(decision.kind);
    this.#world.log.info("junction", { process: process.name, ...decision });
    if (decision.kind === "continue" || decision.kind === "bring")
      this.#checkJunction(server, claim.view, decision);
    switch (decision.kind) {
      case "genesis": {
        const { path, promotion } = server;
        const options = {
          path,
          promotion,
          firstLocal: this.#start,
          cipher: noCipher,
          signal: process.signal,
        };
        const { segmentBytes } = claim.identity;
        const genesis = await planGenesis(this.#storeFor(process), { ...options, segmentBytes });
        await owner.begin({ kind: "genesis", genesis, openBytes: new Uint8Array(0) });
        this.#acknowledge(owner, process, server);
        break;
      }
      case "continue":
        await owner.begin({ kind: "continue" });
        this.#acknowledge(owner, process, server);
        break;
      case "bring": {
        const { backfill } = decision;
        await owner.begin({ kind: "bring" });
        this.#acknowledge(owner, process, server);
        try {
          await this.#bring(owner, server, { cut: false, backfill, parent: claim.view.tip!.timeline });
        } catch (error) {
          if (error instanceof HistoryRefusedError)
            this.#world.fail(`S2: ${process.name} may bring, and is refused: ${error.message}`);
          throw error;
        }
        break;
      }
      case "suspect":
        await owner.close();
        process.mustLive();
        this.#loseVolume();
        return;
      default:
        decision satisfies never;
    }
    server.recover();
    await this.#lead2(owner, process, this.#world.random);
  }

  /** What continues the log must be the log, byte for byte and promotion for promotion; what brings a timeline, from the fork's segment on. */
  #checkJunction(
    server: Server,
    view: LogView,
    decision: Extract<Junction, { kind: "continue" | "bring" }>,
  ): void {
    const { path, end, promotion } = view.tip!;
    const isBring = decision.kind === "bring";
    const to = isBring && decision.fork < end ? decision.fork : end;
    const from = isBring ? segmentFloor(lsnOf(to - 1n), view.identity.segmentBytes) : this.#start;
    const theirs = this.#world.truth.compose(path, to, from);
    if (theirs === null || Buffer.compare(server.bytes(from, to), theirs) !== 0) {
      this.#world.fail(
        `T6: ${this.name} may ${decision.kind} with other bytes below ${formatLsn(to)} than the log has`,
      );
    }
    if (promotion !== (isBring ? server.parentPromotion : server.promotion)) {
      this.#world.fail(`T6: ${this.name} may ${decision.kind} on another promotion than the log's`);
    }
  }

  async #decide(owner: LogOwner, claim: Claim, server: Server): Promise<Junction> {
    const log = claim.view;
    const recordEnd = log.tip === null ? null : (await owner.recordEndOfLog()).at;
    const range = bytesToCompare({ log, recordEnd }, server);
    let bytes: "equal" | "different" | "missing" = "equal";
    if (range !== null) {
      const theirs = await owner.read(log.tip!.path, range.from, range.to);
      const has = server.flushed < range.to ? server.flushed : range.to;
      const ours = server.bytes(range.from, has < range.from ? range.from : has);
      if (Buffer.compare(ours, theirs.subarray(0, ours.length)) !== 0) bytes = "different";
      else if (ours.length < theirs.length) bytes = "missing";
    }
    const walkedTo = server.walkedTo();
    const members = this.#world.nodes.flatMap((node) => {
      if (node === this || this.#world.random() < 0.3) return [];
      const { server: other } = node;
      if (other === null || node.#process === null) return [];
      return [{ name: node.name, path: other.path, recordEnd: other.walkedTo() }];
    });
    const { path, promotion, parentPromotion } = server;
    return decideJunction({ log, recordEnd }, { path, promotion, parentPromotion, walkedTo, bytes }, members);
  }

  /** A primary with open doors: writes, streams, acknowledges, until it dies or loses the log. */
  async #lead2(owner: LogOwner, process: Process, random: () => number): Promise<void> {
    process.mustLive();
    const server = this.server!;
    this.#owner = owner;
    try {
      for (let sent = owner.streamFrom; !owner.lost.aborted;) {
        if (random() < 0.5) server.write(random);
        sent = await this.#stream(owner, process, server, sent);
        await process.clock.sleep(below(random, 400));
        if (random() < 0.03) sent = random() < 0.5 ? owner.end : owner.streamFrom; // a new connection (W6)
      }
    } finally {
      this.#world.count(owner.lost.aborted ? "fenced" : "ended");
    }
  }

  async #stream(owner: LogOwner, process: Process, server: Server, from: Lsn): Promise<Lsn> {
    const { random } = this.#world;
    let sent = from;
    while (sent < server.flushed) {
      process.mustLive();
      if (random() < 0.05) await this.#archive(owner, server, sent);
      const most = lsnOf(sent + BigInt(PAGE_BYTES * (1 + below(random, 16))));
      const page = lsnOf(most - (most % BigInt(PAGE_BYTES)));
      const to =
        page < server.flushed && page > sent
          ? page
          : server.flushed - sent > 131_072n
            ? page
            : server.flushed;
      await owner.append(sent, server.timeline, server.bytes(sent, to));
      sent = to;
    }
    return sent;
  }

  async #streamOnce(owner: LogOwner, server: Server): Promise<void> {
    for (let at = owner.streamFrom; at < server.flushed;) {
      const page = lsnOf(at + BigInt(2 * PAGE_BYTES) - (at % BigInt(PAGE_BYTES)));
      const to = page < server.flushed ? page : server.flushed;
      await owner.append(at, server.timeline, server.bytes(at, to));
      at = to;
    }
  }

  /** archive_command's segment (A4): the open one from pg_wal, if it is complete there. */
  async #archive(owner: LogOwner, server: Server, sent: Lsn): Promise<void> {
    const { segmentBytes } = this.#world.identity;
    const start = segmentFloor(sent, segmentBytes);
    const end = lsnOf(start + BigInt(segmentBytes));
    if (server.flushed < end || start !== owner.streamFrom) return;
    await owner.append(start, server.timeline, server.bytes(start, end));
    this.#world.count("archived");
  }

  /** Reports what the owner calls durable from the moment it has begun, as a streamer does. */
  #acknowledge(owner: LogOwner, process: Process, server: Server): void {
    this.#acknowledgeAll(owner, process, server).catch((error: unknown) => {
      if (process.isAlive) this.#world.fail(`${process.name} cannot report: ${messageOf(error)}`);
    });
  }

  async #acknowledgeAll(owner: LogOwner, process: Process, server: Server): Promise<void> {
    const { truth, identity } = this.#world;
    const walk = new RecordWalk(this.#start, identity);
    let compared = this.#start;
    for await (const lsn of owner.positions(process.signal)) {
      if (!process.isAlive || process.isPaused) continue;
      if (lsn > server.flushed) {
        this.#world.fail(
          `${process.name} reports ${formatLsn(lsn)}, the server has ${formatLsn(server.flushed)}`,
        );
        return;
      }
      walk.push(server.bytes(walk.position, lsn));
      const known = walk.recordEnd ?? this.#start;
      const recordsBelow = known > lsn ? lsn : known;
      const next = owner.view.firstFree;
      truth.acknowledged(
        owner.view.owner!.epoch,
        next,
        { from: compared, recordsEnd: recordsBelow },
        (from, to) => server.bytes(from, to),
      );
      if (recordsBelow > compared) compared = recordsBelow;
      this.#world.count("acknowledged");
    }
  }

  /** What this node has and the log has, together; null when they differ. */
  #union(served: Buffer, view: LogView): Buffer | null {
    const received = this.#received;
    if (received === null) return served;
    const { path, end, promotion } = view.tip!;
    const isSame = samePath(received.path, path) && received.promotion === promotion;
    if (!isSame && !startsWithPath(path, received.path)) return null;
    const common = Number((received.end < end ? received.end : end) - this.#start);
    if (Buffer.compare(received.bytes.subarray(0, common), served.subarray(0, common)) !== 0) return null;
    return isSame && received.end > end ? received.bytes : served;
  }

  /** Some record's end before `end`. */
  #earlier(bytes: Uint8Array, end: Lsn): Lsn {
    const ends: Lsn[] = [];
    const walk = new RecordWalk(this.#start, {
      ...this.#world.identity,
      onRecord: (record) => {
        if (record.end < end) ends.push(record.end);
      },
    });
    walk.push(bytes.subarray(0, Number(end - this.#start)));
    return ends.length === 0
      ? end
      : ends[ends.length - 1 - below(this.#world.random, Math.min(ends.length, 40))]!;
  }

  /** Everything a restore of this view is served, segment by segment (R3), zero-padded to the last one's end. */
  async #fetch(process: Process, view: LogView): Promise<Buffer> {
    const { path, end } = view.tip!;
    const { segmentBytes } = view.identity;
    const pieces: Buffer[] = [];
    for (let at = this.#start; at < end; at = lsnOf(at + BigInt(segmentBytes))) {
      const last = lsnOf((at + BigInt(segmentBytes) < end ? at + BigInt(segmentBytes) : end) - 1n);
      const file = await this.#file(process, view, {
        timeline: ownerAt(path, last),
        number: at / BigInt(segmentBytes),
      });
      if (file === null) {
        this.#world.fail(`I7: the winner's segment at ${formatLsn(at)} is absent`);
        break;
      }
      pieces.push(file);
    }
    return Buffer.concat(pieces);
  }

  /** What restore_command answers for one file: wal_005 first, clipped, else the log; null for "absent" (R3). */
  async #file(process: Process, view: LogView, segment: Segment): Promise<Buffer | null> {
    const { path } = view.tip!;
    const { segmentBytes } = view.identity;
    const name = segmentName(segment, segmentBytes);
    const codec = { cipher: noCipher, preferred: "none" as const };
    const store = this.#storeFor(process);
    const stored = await this.#insist(process, () => fetchPublished(store, name, codec, process.signal));
    if (stored !== null) {
      const clipped = clipSegment(stored, segment, path, segmentBytes);
      return clipped === null ? null : Buffer.from(clipped);
    }
    const tools = this.#assembleTools(process);
    const answer = await this.#insist(process, () => assembleSegment(view, segment, path, tools));
    return answer.kind === "absent" ? null : Buffer.from(answer.bytes);
  }

  /** I7 for every file that Postgres could ask for on the winner's path: the timeline's bytes up to where the path leaves it, then zeros. */
  async #checkFiles(process: Process, view: LogView): Promise<void> {
    const { path, end } = view.tip!;
    const size = BigInt(view.identity.segmentBytes);
    for (const [i, { timeline, begin }] of path.entries()) {
      const left = path[i + 1]?.begin ?? end;
      for (
        let at = segmentFloor(begin > this.#start ? begin : this.#start, Number(size));
        at < left;
        at = lsnOf(at + size)
      ) {
        const to = left < at + size ? left : lsnOf(at + size);
        const wanted = Buffer.alloc(Number(size));
        this.#world.truth.compose(path.slice(0, i + 1), to, at)?.copy(wanted);
        const file = await this.#file(process, view, { timeline, number: at / size });
        if (file !== null && Buffer.compare(file, wanted) === 0) continue;
        this.#world.fail(
          `I7: the file of timeline ${timeline} at ${formatLsn(at)} is not what the log accepted up to ${formatLsn(to)}`,
        );
      }
    }
  }

  async #insist<T>(process: Process, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        if ((error as { code?: string }).code !== "STORE_UNKNOWN") throw error;
        await process.clock.sleep(200);
      }
    }
  }

  #takeOver(process: Process, purpose: "start" | "promote" | "restore"): Promise<Claim> {
    const world = this.#world;
    return takeOver(this.#storeFor(process), {
      identity: world.identity,
      purpose,
      node: this.name,
      fencing: "conditional",
      cipher: noCipher,
      clock: process.clock,
      log: world.log.child({ process: process.name }),
      signal: process.signal,
      random: world.random,
      drawToken: () => world.drawToken(),
    });
  }

  #makeOwner(process: Process, claim: Claim): LogOwner {
    const { random, log } = this.#world;
    return new LogOwner({
      claim,
      store: this.#storeFor(process),
      codec: { compression: { method: "none" }, cipher: noCipher },
      clock: process.clock,
      log: log.child({ process: process.name }),
      signal: process.signal,
      random,
      flushMs: random() < 0.5 ? 5 : 1_000,
      inFlight: random() < 0.5 ? 16 : 1 + below(random, 16),
      hedge: random() < 0.5,
      queuedBytes: 600_000,
      slotBytes: random() < 0.5 ? 8_192 : 32_768,
      baseDue: { slots: 3 + below(random, 40), bytes: 1 << 20 },
    });
  }

  #storeFor(process: Process): ReturnType<World["store"]["seenBy"]> {
    return this.#world.store.seenBy(process);
  }

  #readOptions(process: Process): Parameters<typeof readLog>[1] {
    const { clock, signal } = process;
    return { cipher: noCipher, clock, signal, random: this.#world.random };
  }

  #assembleTools(process: Process): Parameters<typeof assembleSegment>[3] {
    const store = this.#storeFor(process);
    const codec = { cipher: noCipher, preferred: "none" as const };
    const published = publishedSource(store, this.#world.identity.segmentBytes, codec, process.signal);
    return { store, cipher: noCipher, signal: process.signal, published };
  }
}
