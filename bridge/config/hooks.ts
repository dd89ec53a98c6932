import type { Names } from '../names.ts';
import type { FeedSettings, HooksSettings } from '../settings.ts';
import { readIdentity } from './azureDevOps.ts';
import type { Section } from './section.ts';
import { shown } from './shown.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** Reads `hooks`. */
export function readHooks(section: Section, names: Names): HooksSettings {
  const passwords = section.secrets('password');
  const takesHooks = section.sections('events').length > 0 || section.sections('feeds').length === 0;
  if (takesHooks && section.texts('passwordFiles').length + section.texts('passwordEnvs').length === 0)
    section.note('passwordFiles', 'is required: nobody could send hooks without a secret');
  const feeds = readFeeds(section);
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
    feeds,
  };
}

function readFeeds(section: Section): FeedSettings[] {
  const seen = new Set<string>();
  return section.sections('feeds').map((entry) => {
    const [project, feed] = [entry.text('project') ?? '', entry.text('feed') ?? ''];
    const key = JSON.stringify([project, feed]).toLowerCase();
    if (seen.has(key))
      entry.note('feed', `${shown(feed)} of the same project is listed already`, 'Remove one of the two.');
    seen.add(key);
    return { project, feed, everyMs: entry.duration('every', MINUTE_MS, DAY_MS) };
  });
}
