import type { Attributes } from './cloudEvent.ts';

/** The owner of an event as its attributes name it: organization, project, pipeline, run, requester; empty where they do not. */
export function describeOwner(attributes: Attributes): string {
  const { azporganization, azpproject, azppipeline, azprunid, azprequester } = attributes;
  const run = azprunid && `run ${azprunid}`;
  return [azporganization, azpproject, azppipeline, run, azprequester].filter(Boolean).join(' / ');
}
