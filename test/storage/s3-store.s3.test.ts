import { objectStoreSuite } from "../support/object-store-suite.ts";
import { sharedS3Server } from "../support/s3-server.ts";

const server = sharedS3Server();

objectStoreSuite("s3", async () => (await server()).makeStore());
objectStoreSuite(
  "s3 with a prefix and small parts",
  async () => (await server()).makeStore({ prefix: "/clusters/one/", partBytes: 5 << 20 }),
  { keyBytes: 1024 - "clusters/one/".length, bulk: false },
);
