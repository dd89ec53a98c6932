// The bridge on every pair of Node.js and nats-server, with all cases and in full number, of which npm test has some.
import '../e2e/bridge/noHookLost.test.ts';
import '../e2e/bridge/versions.test.ts';
import '../e2e/bridge/waitsIsolation.test.ts';
import '../e2e/bridge/waitsParity.test.ts';
