// The callout on each line of nats-server in each mode. npm test runs only two of these pairs.
import '../e2e/bridge/callout.test.ts';
import '../e2e/bridge/calloutAccounts.test.ts';
import '../e2e/bridge/calloutProjects.test.ts';
import '../e2e/tasks/entra.test.ts';
