// `wal-g wal-prefetch`: fetches what recovery will ask for next, in a process of its own.

import { listWal, type WalObject } from "../../archive/wal-catalog.ts";
import { checkSegment } from "../../archive/wal-file-check.ts";
import { messageOf } from "../../base/errors.ts";
import { open } from "../../codec/seal.ts";
import { readWhole } from "../../storage/object-store.ts";
import { parseSegmentName } from "../../wal/segment-name.ts";
import type { Call } from "./command.ts";
import { PrefetchFolder } from "./prefetch-folder.ts";

/** Fetches up to WALG_DOWNLOAD_CONCURRENCY segments behind the named one; ends by itself. What fails is simply not there. */
export async function prefetch(call: Call): Promise<number> {
  const { args, settings, log, signal } = call;
  const name = args[0]!;
  const folder = PrefetchFolder.of(settings, args[1]!);
  if (!(await folder.lock())) return 0;
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    await folder.forgetBefore(name);
    const next = await following(call, name, settings.count("WALG_DOWNLOAD_CONCURRENCY", 10), limit);
    const work = async (): Promise<void> => {
      for (let object = next.shift(); object !== undefined; object = next.shift()) {
        await fetchOne(call, object, folder, limit);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
  } catch (error) {
    log.debug("nothing more is fetched ahead", { because: messageOf(error) });
  } finally {
    await folder.unlock();
  }
  return 0;
}

/** The segments that directly follow on the same timeline, each in one codec. One listing. */
async function following(call: Call, name: string, most: number, signal: AbortSignal): Promise<WalObject[]> {
  const { segmentBytes } = call.settings;
  const segment = parseSegmentName(name, segmentBytes);
  const found: WalObject[] = [];
  if (segment === null) return found;
  const store = await call.openStore();
  let wanted = segment.number + 1n;
  // "~" comes behind every codec of the name itself.
  for await (const object of listWal(store, segmentBytes, signal, { after: `${name}~` })) {
    if (object.meaning.kind !== "segment" || object.meaning.segment.number < wanted) continue;
    const { timeline, number } = object.meaning.segment;
    if (timeline !== segment.timeline || number !== wanted || found.length >= most) break;
    found.push(object);
    wanted += 1n;
  }
  return found;
}

async function fetchOne(
  call: Call,
  object: WalObject,
  folder: PrefetchFolder,
  signal: AbortSignal,
): Promise<void> {
  if (await folder.has(object.name)) return;
  const { segmentBytes } = call.settings;
  const store = await call.openStore();
  const body = await store.get(object.key, signal);
  if (body === null || object.meaning.kind !== "segment") return;
  const bytes = await open(
    await readWhole(body),
    object.method,
    (await call.openCodec()).cipher,
    segmentBytes * 2,
  );
  checkSegment(bytes, object.meaning.segment, { segmentBytes, systemId: null, magic: null });
  await folder.put(object.name, bytes);
}

const PARALLEL = 4;
const LIMIT_MS = 120_000;
