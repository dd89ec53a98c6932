// On each line of nats-server, with all cases. npm test runs only some of them.
import '../integration/azureDevOps/hookFlood.test.ts';
import '../integration/nats/linkFaults.test.ts';
import '../integration/nats/readStream.test.ts';
