// On each line of nats-server and in full number, of which npm test has some.
import '../integration/azureDevOps/hookFlood.test.ts';
import '../integration/nats/linkFaults.test.ts';
import '../integration/nats/readStream.test.ts';
