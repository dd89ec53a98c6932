import type { StreamSource } from '../../bus.ts';
import { TaskError } from '../../errors.ts';
import { covers, overlap, withoutCovered } from '../../subject.ts';
import {
  API_ERROR,
  apiErrorText,
  capturesApiError,
  isTransient,
  jetStreamOffError,
  type ApiAnswer,
  type ApiError,
  type ConsumerFilter,
  type StreamInfo,
} from '../jetStreamApi.ts';
import type { Link, Violation } from '../link/link.ts';
import type { Links } from '../link/links.ts';
import { pause, unlessAborted } from '../../clock.ts';
import { deniedError, streamWaitGrants } from '../permissions.ts';
import { knownNames, noStreamError, noSuchStreamError } from '../streamHints.ts';
import { storedElsewhere } from '../subjectTransforms.ts';

const RETRY_PAUSE_MS = 250;
/** How long JetStream may be without a leader before the wait begins. */
const FIRST_ANSWER_MS = 15_000;

/** The stream a wait reads: which one it is, whether it can be read, and what went wrong, in its own words. */
export class StreamAccess {
  /** Empty until {@link open} has found it. */
  name = '';
  /** What the server filters by itself. All subjects are matched again by the reader, whatever it does. */
  filter: ConsumerFilter = {};

  constructor(
    private readonly links: Links,
    private readonly source: StreamSource,
    private readonly signal: AbortSignal,
  ) {}

  /** Finds the stream and checks that it can be read. `notice` is told what the user should know of it. */
  async open(notice: (text: string) => void): Promise<StreamInfo> {
    const { version = '' } = (await this.links.liveLink(this.signal)).connection.info ?? {};
    // What a refusal says to grant, before it's known which subjects the stream captures.
    this.filter = filterFor(this.source.subjects, this.source.subjects, version);
    this.name = this.source.stream ?? (await this.#find());
    const info = await this.firstAnswer((link) => this.links.api(link).streamInfo(this.name));
    this.#check(info, notice);
    this.filter = filterFor(this.source.subjects, info.config.subjects, version);
    if (this.source.start.from === 'lastPerSubject' && Object.keys(this.filter).length === 0)
      this.filter = this.#filterByCaptured(info.config.subjects ?? ['>'], version);
    return info;
  }

  /** Repeats a call until JetStream's answer isn't a passing state. */
  async firstAnswer<Response>(call: (link: Link) => Promise<ApiAnswer<Response>>): Promise<Response> {
    const until = Date.now() + FIRST_ANSWER_MS;
    for (;;) {
      const link = await this.links.liveLink(this.signal);
      const answer = await unlessAborted(call(link), this.signal);
      if (answer.kind === 'ok') return answer.response;
      if (answer.kind === 'denied') throw this.denied(answer.violation);
      if (answer.kind === 'apiError' && !isTransient(answer)) {
        if (answer.error.err_code !== API_ERROR.streamNotFound) throw this.apiError(answer.error, link);
        throw noSuchStreamError(this.name, await unlessAborted(knownNames(this.links.api(link)), this.signal));
      }
      if (answer.kind === 'noResponders' && link.connection.info?.jetstream !== true) throw jetStreamOffError(link);
      if (answer.kind !== 'lost' && Date.now() > until) {
        throw new TaskError(
          'Unreachable',
          `JetStream on ${link.server} does not answer (${answer.kind === 'apiError' ? apiErrorText(answer.error) : answer.kind})`,
          'Check that JetStream is running and that its cluster has a leader.',
        );
      }
      await pause(RETRY_PAUSE_MS, this.signal);
    }
  }

  /** The error for an API answer that won't change by itself. */
  apiError(error: ApiError, link: Link): TaskError {
    switch (error.err_code) {
      case API_ERROR.streamNotFound:
        return noSuchStreamError(this.name);
      case API_ERROR.notEnabled:
      case API_ERROR.notEnabledForAccount:
        return jetStreamOffError(link);
      default:
        return new TaskError(
          'StreamRefused',
          `The stream "${this.name}" cannot be read: ${apiErrorText(error)}`,
          'Check the limits for consumers of the stream and its account.',
        );
    }
  }

  denied({ operation, subject }: Violation): TaskError {
    const { links, source, name, filter } = this;
    const grants = streamWaitGrants(
      links.apiPrefix,
      name === '' ? '<stream>' : name,
      source.stream !== undefined,
      filter.filter_subject,
      links.inboxPrefix,
    );
    return deniedError(operation, subject, grants);
  }

  async #find(): Promise<string> {
    const found = new Map<string, readonly string[]>();
    for (const subject of this.source.subjects) {
      const { streams } = await this.firstAnswer((link) => this.links.api(link).streamNames(subject));
      if (streams === null || streams.length === 0) {
        const link = await this.links.liveLink(this.signal);
        throw await unlessAborted(noStreamError(this.links.api(link), subject, 'wait'), this.signal);
      }
      found.set(subject, streams);
    }
    const [first = '', ...others] = new Set([...found.values()].flat());
    if (others.length > 0) {
      const listed = [...found].map(([subject, streams]) => `"${subject}" in ${streams.join(', ')}`).join('; ');
      throw new TaskError(
        'NoStream',
        `The subjects are not all in one stream: ${listed}`,
        'Wait on subjects of one stream, or name the one to read in the input "stream".',
      );
    }
    return first;
  }

  /** `lastPerSubject` demands one filter from servers before 2.10 (error 10094), which none but a subject of the stream may be. */
  #filterByCaptured(captured: readonly string[], version: string): ConsumerFilter {
    const [only, ...others] = captured.filter((own) => this.source.subjects.some((subject) => overlap(own, subject)));
    if (only !== undefined && others.length === 0) return { filter_subject: only };
    throw new TaskError(
      'Unsupported',
      `startFrom: lastPerSubject over ${this.source.subjects.join(', ')} needs nats-server 2.10; this one is ${version}`,
      'Name one subject that a single subject of the stream covers, or use another startFrom.',
    );
  }

  #check({ config }: StreamInfo, notice: (text: string) => void): void {
    const { retention } = config;
    if (retention === 'workqueue') {
      throw new TaskError(
        'Unsupported',
        `The stream "${this.name}" is a work queue: reading it would take events from its workers`,
        'Wait on a stream that mirrors or sources it.',
      );
    }
    if (retention === 'interest')
      notice(
        `The stream "${this.name}" keeps events only while a consumer wants them, so events of the past may be absent.`,
      );
    const captured = config.subjects;
    if (captured?.some((own) => covers(own, `${this.links.apiPrefix}.>`)) === true && config.no_ack !== true)
      throw capturesApiError(this.name);
    const elsewhere = storedElsewhere(this.name, config, this.source.subjects);
    if (elsewhere !== undefined) notice(`${elsewhere}.`);
    if (captured === undefined || captured.length === 0 || config.subject_transform !== undefined) return;
    const outside = this.source.subjects.filter((subject) => !captured.some((own) => overlap(own, subject)));
    if (outside.length > 0 && config.sources === undefined) {
      throw new TaskError(
        'NoStream',
        `The stream "${this.name}" captures ${captured.join(', ')} and so never holds ${outside.join(', ')}`,
        'Correct the subject or the input "stream".',
      );
    }
  }
}

function filterFor(
  patterns: readonly string[],
  captured: readonly string[] | undefined,
  version: string,
): ConsumerFilter {
  const subjects = withoutCovered(patterns);
  const [only] = subjects;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const since210 = major > 2 || (major === 2 && minor >= 10);
  if (only !== undefined && subjects.length === 1) {
    // Older servers refuse a filter that is wider than the stream's subjects (error 10093).
    return since210 || (captured ?? []).some((own) => covers(own, only)) ? { filter_subject: only } : {};
  }
  const overlapping = subjects.some((one, index) => subjects.slice(index + 1).some((other) => overlap(one, other)));
  // Older servers ignore a list silently; overlapping subjects are refused (error 10138).
  return since210 && !overlapping ? { filter_subjects: subjects } : {};
}
