// A few worker threads that run one job each at a time, so that compression never holds up the event loop.

import { availableParallelism } from "node:os";
import { MessageChannel, type MessagePort, Worker, parentPort } from "node:worker_threads";
import { AppError } from "../base/errors.ts";
import { ThreadChannel } from "./thread-channel.ts";

interface JobMessage {
  readonly job: unknown;
  readonly port: MessagePort;
}

/** Workers of one module. Jobs beyond `size`, and beyond what the machine can run at once, wait. */
export class ThreadPool<Job> implements AsyncDisposable {
  readonly #module: URL;
  readonly #size: number;
  readonly #idle: Worker[] = [];
  readonly #waiting: (() => void)[] = [];
  #started = 0;

  /** `module` calls `serveJobs`. Threads start when they are first needed. */
  constructor(module: URL, size: number) {
    this.#module = module;
    this.#size = Math.min(size, Math.max(2, availableParallelism()), THREADS_MOST);
  }

  /** Runs `use` with a channel to a worker that was given `job`. Throws what the worker or `use` throws. */
  async run<T>(
    job: Job,
    use: (channel: ThreadChannel) => Promise<T>,
    onNote?: (note: unknown) => void,
  ): Promise<T> {
    const worker = await this.#take();
    const { port1, port2 } = new MessageChannel();
    const channel = new ThreadChannel(port1, onNote);
    let isDead = false;
    const die = (error: Error): void => {
      isDead = true;
      channel.abort(error);
    };
    const onExit = (code: number): void => die(workerDied(`it exited with ${code}`));
    const onError = (error: Error): void => die(workerDied(error.message));
    worker.on("error", onError).on("exit", onExit);
    let isClean = false;
    try {
      worker.postMessage({ job, port: port2 } satisfies JobMessage, [port2]);
      const result = await use(channel);
      isClean = !isDead;
      return result;
    } finally {
      channel.close();
      worker.off("error", onError).off("exit", onExit);
      await this.#giveBack(worker, isClean);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#idle.splice(0).map((worker) => worker.terminate()));
  }

  async #take(): Promise<Worker> {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle !== undefined) return idle;
      if (this.#started < this.#size) break;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#started += 1;
    const worker = new Worker(START, {
      resourceLimits: LIMITS,
      workerData: { module: this.#module.href },
    });
    worker.on("error", () => undefined); // each job listens too; without this an idle thread's error ends the process
    return worker;
  }

  /** After an error a job's leftovers may still run in the thread: it ends, and the next job gets a fresh one. */
  async #giveBack(worker: Worker, isClean: boolean): Promise<void> {
    if (isClean) this.#idle.push(worker);
    else {
      await worker.terminate();
      this.#started -= 1;
    }
    this.#waiting.shift()?.();
  }
}

/** The worker's side: runs `work` for each job, and tells its result or its error. */
export function serveJobs(work: (job: unknown, channel: ThreadChannel) => Promise<unknown>): void {
  parentPort?.on("message", ({ job, port }: JobMessage) => {
    const channel = new ThreadChannel(port);
    work(job, channel)
      .then((result) => channel.finish(result))
      .catch((error: unknown) => channel.fail(error));
  });
}

const workerDied = (how: string): AppError =>
  new AppError(`a worker thread ended in the middle of its work: ${how}`, {
    code: "WORKER_DIED",
    hint: "look for a memory limit of the container",
  });

const START = new URL("./start-worker.ts", import.meta.url);
/** WAL-G's default of 10 downloads would be 10 threads here, and their memory. */
const THREADS_MOST = 8;

/** Small young generation: what passes through a worker is bytes outside the heap. */
const LIMITS = { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 8 } as const;
