import type { Attributes } from './cloudEvent.ts';

/** The owner of an event as its attributes name it: organisation, project, pipeline, run, requester; empty where they do not. */
export function describeOwner({
  azporganization,
  azpproject,
  azppipeline,
  azprunid,
  azprequester,
}: Attributes): string {
  const run = azprunid && `run ${azprunid}`;
  return [azporganization, azpproject, azppipeline, run, azprequester].filter(Boolean).join(' / ');
}
