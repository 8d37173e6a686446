import { objectStoreSuite } from "../support/object-store-suite.ts";
import { MemoryStore } from "../support/memory-store.ts";

objectStoreSuite("memory", async () => new MemoryStore());
