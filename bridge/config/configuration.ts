import path from 'node:path';
import { TaskError, type Problem } from '../../shared/errors.ts';
import { parseUserSeed } from '../../shared/nkey.ts';
import { readRegularFile } from '../../shared/regularFile.ts';
import { isObject } from '../../shared/text/json.ts';
import { namesOf } from '../names.ts';
import type { BridgeSettings, Secret, StreamSettings } from '../settings.ts';
import { TIMING, type Timing } from '../timing.ts';
import { readAzureDevOps } from './azureDevOps.ts';
import { readCallout, readPolicy } from './callout.ts';
import { ConfigurationError } from './configurationError.ts';
import { exposureOf } from './fileModes.ts';
import { readHooks } from './hooks.ts';
import { readHttp } from './http.ts';
import { readNats } from './nats.ts';
import { readRuns } from './runs.ts';
import { schemaProblems } from './schema.ts';
import { signatureOf, withoutPath, type FileSurroundings, type WatchedFile } from './secrets.ts';
import { nameOf } from './nameOf.ts';
import { Section, type Surroundings } from './section.ts';
import { shown } from './shown.ts';
import { readWaits } from './waits.ts';
import { readYaml, type Path, type Place, type YamlFile } from './yamlFile.ts';

const DAY_MS = 86_400_000;
/** No stream needs to keep anything for longer. */
const MOST_AGE_MS = 3_650 * DAY_MS;
const MOST_BYTES = 1_024 * 1_024;

/** A configuration that can be used. */
export interface Configuration {
  readonly settings: BridgeSettings;
  /** What the file says, by section. */
  readonly given: Readonly<Record<string, unknown>>;
  /** Lines of the same form. */
  readonly warnings: readonly string[];
  /** Changes when the file does, or any file it names that is read only once. */
  readonly signature: () => string;
  /** The signature of what was read. */
  readonly readAs: string;
  /** The files that are read again when they change. */
  readonly watched: readonly WatchedFile[];
}

/** What a configuration is read with. */
export interface Outside {
  readonly env: Readonly<Record<string, string | undefined>>;
  now(): number;
  /** Called when a changed file can't be used, and when one is taken (undefined). */
  readonly onFileTrouble: FileSurroundings['onTrouble'];
  /** Whether a secret that isn't here is only a warning. */
  readonly isOffline?: boolean;
}

/**
 * Reads and checks a configuration file.
 *
 * @throws ConfigurationError
 */
export function readConfiguration(file: string, outside: Outside): Configuration {
  const text = readText(file);
  const yaml = readYaml(text);
  const [first, ...others] = inOrder(
    yaml.problems.map((one) => ({ ...one, text: `${file}:${one.line}:${one.column}: ${one.problem}` })),
  );
  if (first !== undefined) {
    const more = others.length === 0 ? '' : `, and ${others.length} more`;
    throw new ConfigurationError([`${first}${more}.`], () => signaturesOf([file]));
  }
  const reader = new ConfigurationReader(file, yaml, outside);
  return reader.read();
}

function readText(file: string): string {
  try {
    const bytes = readRegularFile(file, MOST_BYTES);
    if (bytes !== undefined) return bytes.toString();
  } catch (error) {
    return refuse(withoutPath(error));
  }
  return refuse('it is larger than 1 MiB');

  function refuse(why: string): never {
    throw new ConfigurationError([`${file}: can't be read: ${why}.`], () => signaturesOf([file]));
  }
}

function signaturesOf(files: readonly string[]): string {
  return files.map((file) => signatureOf(file) ?? 'none').join('\n');
}

interface Noted extends Place {
  readonly line: number;
  readonly text: string;
}

class ConfigurationReader {
  readonly #problems: Noted[] = [];
  readonly #warnings: Noted[] = [];
  readonly #files: string[];
  /** Already rejected by the schema. */
  readonly #refused = new Set<string>();
  readonly #secretFiles = new Set<string>();
  readonly #watched: WatchedFile[] = [];

  constructor(
    private readonly file: string,
    private readonly yaml: YamlFile,
    private readonly outside: Outside,
  ) {
    this.#files = [file];
  }

  read(): Configuration {
    for (const { path: at, ofKey, problem, remedy, meant } of schemaProblems(this.yaml.value ?? {})) {
      this.#refused.add(nameOf(at));
      if (meant !== undefined) this.#refused.add(nameOf(meant));
      this.#note(this.#problems, at, { problem, remedy }, ofKey);
    }
    const timing = this.#readTiming();
    const root = new Section(this.yaml.value, [], this.#surroundings(timing));
    const instance = root.text('instance') ?? '';
    const names = namesOf(instance);
    const contracts = this.#readContracts(root.section('contracts'));
    const nats = readNats(root.section('nats'));
    const azureDevOps = readAzureDevOps(root.section('azureDevOps'));
    const settings: BridgeSettings = {
      instance,
      nats,
      azureDevOps,
      http: readHttp(root.section('http')),
      streams: readStreams(root.section('streams')),
      signingKey: readSigningKey(root),
      contracts,
      hooks: root.has('hooks') ? readHooks(root.section('hooks'), names) : undefined,
      runs: readRuns(root, names, root.section('contracts').keys),
      publisherPolicy: readPolicy(root, 'publisherPolicyFile', 'publisherPolicyFile', undefined),
      waits: root.has('waits') ? readWaits(root.section('waits')) : undefined,
      callout: root.has('callout') ? readCallout(root, root.section('callout'), nats, azureDevOps) : undefined,
      timing,
    };
    const signature = () => signaturesOf(this.#files);
    if (this.#problems.length > 0) throw new ConfigurationError(inOrder(this.#problems), signature);
    return {
      settings,
      given: isObject(this.yaml.value) ? this.yaml.value : {},
      warnings: inOrder(this.#warnings),
      signature,
      readAs: signature(),
      watched: this.#watched,
    };
  }

  #surroundings(timing: Timing): Surroundings {
    return {
      folder: path.dirname(path.resolve(this.file)),
      env: this.outside.env,
      isOffline: this.outside.isOffline ?? false,
      now: () => this.outside.now(),
      lookEveryMs: timing.secretFile,
      onTrouble: this.outside.onFileTrouble,
      watch: (file) => this.#watched.push(file),
      lineOf: (at) => this.yaml.placeOf(at).line,
      note: (at, problem) => {
        if (!this.#refused.has(nameOf(at))) this.#note(this.#problems, at, problem);
      },
      warn: (at, problem) => this.#note(this.#warnings, at, problem),
      uses: (file) => this.#files.push(file),
      secretFile: (at, given, file) => {
        const exposure = this.#secretFiles.has(file) ? undefined : exposureOf(file);
        this.#secretFiles.add(file);
        if (exposure !== undefined) {
          const problem = `${shown(given)} ${exposure.problem}`;
          this.#note(this.#warnings, at, { ...exposure, problem });
        }
      },
    };
  }

  #note(list: Noted[], at: Path, { problem, remedy }: Problem, ofKey = false): void {
    const place = ofKey ? this.yaml.placeOfKey(at) : this.yaml.placeOf(at);
    const sentences = [`${nameOf(at) || 'the configuration'}: ${problem}.`, remedy].filter(Boolean).join(' ');
    list.push({ ...place, text: `${this.file}:${place.line}:${place.column}: ${sentences}` });
  }

  #readContracts(section: Section): Record<string, string> {
    const contracts = section.keys.map((name) => [name, section.file(name)] as const);
    for (const [, file] of contracts) if (file !== undefined) this.#files.push(file);
    return Object.fromEntries(contracts.filter((contract): contract is [string, string] => contract[1] !== undefined));
  }

  #readTiming(): Timing {
    const section = new Section((this.yaml.value as { timing?: unknown } | null)?.timing, ['timing'], {
      ...this.#surroundings(TIMING),
    });
    const scale = section.number('scale', 1);
    for (const key of section.keys)
      if (key !== 'scale' && !Object.hasOwn(TIMING, key))
        this.#note(this.#problems, ['timing', key], { problem: 'is not a pause or limit of the bridge' }, true);
    const scaled = Object.entries(TIMING).map(([name, ms]) => [
      name,
      section.duration(name, Math.max(1, Math.round(ms * scale)), 20 * DAY_MS),
    ]);
    const timing = Object.fromEntries(scaled) as Timing;
    if (timing.takeover <= timing.azureDevOps)
      section.note(
        'takeover',
        `is ${timing.takeover} ms, not more than azureDevOps with its ${timing.azureDevOps} ms`,
        'Make it longer: a replica must not take over a request that another one still waits for.',
      );
    return timing;
  }
}

function readStreams(section: Section): StreamSettings {
  const maxAge = (name: string, days: number) => section.section(name).duration('maxAge', days * DAY_MS, MOST_AGE_MS);
  return {
    replicas: section.number('replicas', 1),
    maxAgeMs: {
      AZDO: maxAge('AZDO', 30),
      BRIDGE_AUDIT: maxAge('BRIDGE_AUDIT', 400),
      BRIDGE_DEAD: maxAge('BRIDGE_DEAD', 30),
    },
  };
}

function readSigningKey(root: Section): Secret | undefined {
  return root.parsedSecret('signingKey', (text) => {
    try {
      parseUserSeed(text);
      return { value: text };
    } catch (error) {
      if (!(error instanceof TaskError)) throw error;
      return { problem: `can't be used. ${error.problem}`, remedy: error.remedy };
    }
  });
}

function inOrder(noted: readonly Noted[]): string[] {
  const sorted = [...noted].sort((one, next) => one.line - next.line || one.column - next.column);
  return [...new Set(sorted.map(({ text }) => text))];
}
