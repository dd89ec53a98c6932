import type { Names } from '../names.ts';
import type { HooksSettings } from '../settings.ts';
import { readIdentity } from './azureDevOps.ts';
import type { Section } from './section.ts';

const DAY_MS = 86_400_000;

/** Reads `hooks`. */
export function readHooks(section: Section, names: Names): HooksSettings {
  const passwords = section.secrets('password');
  if (section.texts('passwordFiles').length + section.texts('passwordEnvs').length === 0)
    section.note('passwordFiles', 'is required: nobody could send hooks without a secret');
  return {
    stream: section.text('stream') ?? names.of('AZDO'),
    subjectPrefix: section.text('subjectPrefix') ?? names.subject('azdo'),
    user: section.text('user') ?? 'hooks',
    passwords,
    sharedSecret: section.flag('sharedSecret'),
    silenceAlarmMs: section.duration('silenceAlarm', DAY_MS, 20 * DAY_MS),
    identity: readIdentity(section.section('identity')),
    events: section.sections('events').map((event) => ({
      event: event.text('event') ?? '',
      project: event.text('project') ?? '*',
      inputs: event.section('inputs').scalars(),
    })),
  };
}
