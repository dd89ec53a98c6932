// What the tasks do under each Node, which npm test has under one or the other, and what it has of one task or a few cases.
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
