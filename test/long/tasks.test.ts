// The tasks under each Node, with all cases. npm test runs each under only one Node, and some with only a few cases.
import '../e2e/tasks/authKinds.test.ts';
import '../e2e/tasks/batch.test.ts';
import '../e2e/tasks/eventOnTheWire.test.ts';
import '../e2e/tasks/examples.test.ts';
import '../e2e/tasks/publishThenWait.test.ts';
import '../e2e/tasks/request.test.ts';
import '../e2e/tasks/runSummary.test.ts';
import '../e2e/tasks/signedEvents.test.ts';
import '../e2e/tasks/slowEvents.test.ts';
import '../e2e/tasks/traceContext.test.ts';
import '../e2e/tasks/unhappyConnection.test.ts';
import '../e2e/tasks/waitDecides.test.ts';
