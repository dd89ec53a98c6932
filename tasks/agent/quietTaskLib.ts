// task-lib writes a line for System.Debug about everything it reads, some thirty while it is loaded, and leaves it to
// the agent to drop them. This is its own switch against that, which newer agents set.
process.env.DISTRIBUTEDTASK_TASKS_NODE_SKIPDEBUGLOGSWHENDEBUGMODEOFF = 'true';
