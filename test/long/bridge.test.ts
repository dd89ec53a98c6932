// The bridge on every pair of Node.js and nats-server, with all cases. npm test runs only some of them.
import '../e2e/bridge/noHookLost.test.ts';
import '../e2e/bridge/versions.test.ts';
import '../e2e/bridge/waitsIsolation.test.ts';
import '../e2e/bridge/waitsParity.test.ts';
