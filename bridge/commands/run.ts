import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf, TaskError } from '../../shared/errors.ts';
import { prepareContracts } from '../../shared/contract/load.ts';
import { isObject } from '../../shared/text/json.ts';
import { safeText } from '../../shared/text/safeText.ts';
import { AzureDevOps, NOT_ASKED } from '../azureDevOps/client.ts';
import { credentialsModule } from '../azureDevOps/identity.ts';
import { dispatcherModule } from '../azureDevOps/requests.ts';
import type { KnownKeys } from '../callout/keySets.ts';
import { checkAll } from '../check.ts';
import { readConfiguration, type Configuration } from '../config/configuration.ts';
import { ConfigurationError } from '../config/configurationError.ts';
import { loadContracts, warningsOf, type Contracts } from '../config/contracts.ts';
import { FileWatch, type FileSurroundings, type WatchedFile } from '../config/secrets.ts';
import type { Functions } from '../functions.ts';
import { lookAtSubscriptions, type SubscriptionStates } from '../hooks/subscriptions/watch.ts';
import { AdminServer } from '../http/adminServer.ts';
import { CONFIGURATION, type Unused } from '../http/statusPage.ts';
import { PublicServer } from '../http/publicServer.ts';
import { TlsFiles } from '../http/tlsFiles.ts';
import { JetStream } from '../jetStream/api.ts';
import { NatsCheck } from '../jetStream/check.ts';
import { NatsFindings } from '../jetStream/natsFindings.ts';
import { streamNeeds } from '../jetStream/needs.ts';
import { describeFinding, type Finding } from '../finding.ts';
import { Lifecycle } from '../lifecycle.ts';
import { EventLog } from '../log.ts';
import { Metrics } from '../metrics.ts';
import type { Nats } from '../nats.ts';
import { ReadinessProbe } from '../readiness.ts';
import type { BridgeSettings } from '../settings.ts';
import { startFunctions } from '../startFunctions.ts';
import { currentStatus, type CheckResult } from '../status.ts';
import type { World } from '../world.ts';

/** What a running bridge keeps as it was. */
const RESTART_SECTIONS = ['instance', 'nats', 'http'];
/** Pause between two attempts to reach NATS. */
const CONNECT_PAUSE_MS = 1_000;

/**
 * Serves until the process is asked to stop.
 *
 * @returns the exit code: 0, 2 for a bad configuration, 1 otherwise
 */
export async function run(file: string, world: World): Promise<number> {
  const log = new EventLog(
    (line) => world.err(line),
    () => world.now(),
  );
  const running = new Running(file, world, log);
  let configuration: Configuration;
  let contracts: Contracts;
  try {
    configuration = running.readConfiguration();
    contracts = await loadContracts(configuration);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    for (const problem of error.problems) world.err(`${safeText(problem)}\n`);
    return 2;
  }
  // An update of the package takes away the files of the bridge that runs.
  await Promise.all([prepareContracts(), dispatcherModule(), credentialsModule()]);
  try {
    await running.serve(configuration, contracts);
    return 0;
  } catch (error) {
    log.error('failed', { reason: reasonOf(error) });
    return 1;
  } finally {
    await running.end(configuration.settings.timing.drain);
    log.info('stopped');
  }
}

/** A running bridge. */
class Running {
  readonly #metrics = new Metrics();
  readonly #lifecycle: Lifecycle;
  readonly #startedAt: number;
  readonly #knownKeys: KnownKeys = new Map();
  /** What is wrong with changed files that aren't used, by the label of the secret or policy, or `configuration`. */
  readonly #troubles = new Map<string, Unused>();
  /** The files of the ports' certificates. */
  readonly #ownFiles: WatchedFile[] = [];
  #configuration: Configuration | undefined;
  /** What the file said at the start. */
  #startedWith: Configuration['given'] = {};
  /** By section, the keys whose values only a restart takes. */
  #restartKeys: ReadonlyMap<string, readonly string[]> = new Map();
  #functions: Functions | undefined;
  #azureDevOps: AzureDevOps | undefined;
  #check: CheckResult | undefined;
  #findings: readonly Finding[] = [];
  #natsFindings: NatsFindings | undefined;
  /** How many self-checks in a row have found errors. */
  #checksWithErrors = 0;
  /** When all findings were last logged, in milliseconds since the epoch. */
  #checkLoggedAt = 0;
  #subscriptions: SubscriptionStates | undefined;
  #nats: Nats | undefined;
  /** Why there was no link to NATS when there last was none: a clause. */
  #natsTrouble: string | undefined;
  #natsTroubles = 0;
  #jetStream: JetStream | undefined;
  /** Aborted when a configuration or a secret is taken: what is repeated is then due. */
  #reloaded = new AbortController();

  constructor(
    private readonly file: string,
    private readonly world: World,
    private readonly log: EventLog,
  ) {
    this.#lifecycle = new Lifecycle(log);
    this.#startedAt = world.now();
    this.#metrics.configReloadFailed.set(0);
  }

  readConfiguration(): Configuration {
    const { world } = this;
    return readConfiguration(this.file, {
      env: world.env,
      now: () => world.now(),
      onFileTrouble: this.#onFileTrouble,
    });
  }

  async serve(configuration: Configuration, contracts: Contracts): Promise<void> {
    const { world, log } = this;
    this.#configuration = configuration;
    this.#startedWith = configuration.given;
    const { settings, warnings } = configuration;
    world.onStop((why) => this.#lifecycle.stop(why));
    log.info('starting', { version: world.version, configuration: this.file });
    for (const text of warnings) log.warning('configuration', { text });

    const publicServer = await this.#openPorts(settings);
    const nats = await this.#openNats(settings);
    if (nats === undefined) return;
    this.#nats = nats;
    this.#natsFindings = new NatsFindings(nats, () => this.#natsTroubles);
    this.#jetStream = new JetStream(nats, settings.nats().jetStreamDomain, settings.timing.jetStream);
    await this.#startFunctions(configuration, contracts, nats, publicServer);
    this.#lifecycle.opened('functions', async (drained) => {
      await publicServer?.drain(drained);
      await this.#functions?.stop(drained);
      await this.#azureDevOps?.close();
    });
    log.info('serving');
    if (settings.callout === undefined)
      this.#repeat(
        (due) => delay(settings.timing.signIn, undefined, { signal: due }),
        () => this.#azureDevOps?.signIn(),
      );
    this.#repeat(
      (due) => this.#untilCheck(due),
      () => this.#checkItself(),
    );
    await this.#watchConfiguration(nats, publicServer);
  }

  end(drainMs: number): Promise<void> {
    return this.#lifecycle.end(drainMs);
  }

  /** The callout has no public port: a process that can sign in anyone mustn't be exposed. */
  async #openPorts({ http, timing, callout }: BridgeSettings): Promise<PublicServer | undefined> {
    const { world, log } = this;
    const now = () => world.now();
    const probe = new ReadinessProbe(() => this.#readinessSources(), this.#metrics, now, timing.readiness);
    const admin = new AdminServer(http.admin, {
      metrics: this.#metrics,
      log,
      readiness: () => probe.current(),
      statusPage: async () =>
        currentStatus({
          version: world.version,
          now: now(),
          startedAt: this.#startedAt,
          settings: this.#settings,
          readiness: await probe.current(),
          nats: this.#nats,
          natsTrouble: this.#natsTrouble,
          jetStream: this.#jetStream,
          throttle: this.#functions?.throttle?.(),
          routesDown: this.#functions?.routesDown?.() ?? new Map<string, string>(),
          feeds: this.#functions?.feeds?.() ?? [],
          waits: this.#functions?.waits?.(),
          callout: this.#functions?.callout?.(),
          metrics: this.#metrics,
          check: this.#check,
          unused: [...this.#troubles.values()],
          restartKeys: [...this.#restartKeys.values()].flat(),
          subscriptions: this.#subscriptions,
          tokenValidUntil: this.#azureDevOps?.tokenValidUntil,
        }),
    });
    await listenOn('http.admin', admin);
    this.#lifecycle.opened('admin', () => admin.close());
    const adminAddress = `${http.admin.host}:${admin.port}`;
    if (callout !== undefined) {
      log.info('listening', { admin: adminAddress });
      return undefined;
    }
    const look = {
      now,
      lookEveryMs: timing.secretFile,
      onTrouble: this.#onFileTrouble,
      watch: (file: WatchedFile) => this.#ownFiles.push(file),
    };
    const tls = http.tls && new TlsFiles(http.tls, look);
    const publicServer = new PublicServer({ listen: http.listen, tls, timing, log, now });
    await listenOn('http.listen', publicServer);
    this.#lifecycle.stopping.addEventListener('abort', () => publicServer.refuse());
    this.#lifecycle.opened('public', () => publicServer.close());
    log.info('listening', { public: `${http.listen.host}:${publicServer.port}`, admin: adminAddress });
    return publicServer;
  }

  /** Keeps trying until NATS can be reached; undefined when the bridge is asked to stop first. */
  async #openNats(settings: BridgeSettings): Promise<Nats | undefined> {
    const closing = new AbortController();
    const abort = () => closing.abort(new TaskError('Cancelled', 'The bridge stops'));
    this.#lifecycle.stopping.addEventListener('abort', abort);
    const log = this.log.texts('nats');
    const onDown = ({ reason, remedy }: { readonly reason: string; readonly remedy: string }) => {
      // Later failures of the first connection are in its error, and those of a link that broke in its log.
      if (this.#natsTrouble === undefined && this.#nats === undefined)
        log.warning(`Cannot connect to NATS yet: ${[`${reason}.`, remedy].filter(Boolean).join(' ')} Trying again.`);
      this.#natsTrouble = reason;
      this.#natsTroubles++;
    };
    while (!this.#lifecycle.isStopping()) {
      try {
        const nats = await this.world.openNats(() => settings.nats(), closing.signal, log, onDown);
        // From here on, work in progress still needs it when the bridge stops.
        this.#lifecycle.stopping.removeEventListener('abort', abort);
        this.#lifecycle.opened('nats', async () => {
          await nats.close();
          abort();
        });
        return nats;
      } catch (error) {
        if (this.#lifecycle.isStopping()) break;
        if (!(error instanceof TaskError) || error.code !== 'Unreachable') throw error;
        log.warning(error.message);
        await delay(CONNECT_PAUSE_MS, undefined, { signal: this.#lifecycle.stopping }).catch(() => undefined);
      }
    }
    return undefined;
  }

  /** Starts what a configuration turns on, then stops what the previous one had turned on. */
  async #startFunctions(
    configuration: Configuration,
    contracts: Contracts,
    nats: Nats,
    publicServer: PublicServer | undefined,
  ): Promise<void> {
    const { settings } = configuration;
    for (const finding of warningsOf(contracts)) this.log.warning('configuration', { text: describeFinding(finding) });
    const [oldFunctions, oldAzureDevOps] = [this.#functions, this.#azureDevOps];
    const azureDevOps = new AzureDevOps({
      settings: settings.azureDevOps,
      timing: settings.timing,
      metrics: this.#metrics,
      version: this.world.version,
      now: () => this.world.now(),
    });
    const parts = {
      settings,
      contracts,
      nats,
      azureDevOps,
      metrics: this.#metrics,
      log: this.log,
      now: () => this.world.now(),
    };
    const functions = startFunctions(parts, this.world.version, this.#knownKeys);
    this.#configuration = configuration;
    this.#functions = functions;
    this.#azureDevOps = azureDevOps;
    publicServer?.serve(functions.routes);
    await oldFunctions?.stop(AbortSignal.timeout(settings.timing.drain));
    await oldAzureDevOps?.close();
  }

  /** Applies each changed configuration once it's valid, until the bridge stops. */
  async #watchConfiguration(nats: Nats, publicServer: PublicServer | undefined): Promise<void> {
    let signature = () => this.#configuration?.signature();
    let seen = this.#configuration?.readAs;
    const watch = new FileWatch();
    while (!this.#lifecycle.isStopping()) {
      const pause = { signal: this.#lifecycle.stopping };
      await delay(this.#settings.timing.configuration, undefined, pause).catch(() => undefined);
      // A secret may be used rarely, and whoever writes it wants to know whether it's good.
      watch.look([...(this.#configuration?.watched ?? []), ...this.#ownFiles]);
      const found = signature();
      if (this.#lifecycle.isStopping() || found === seen) continue;
      seen = found;
      try {
        const last = this.#configuration?.given ?? {};
        const configuration = this.#withoutRestart(this.readConfiguration());
        ({ readAs: seen, signature } = configuration);
        await this.#startFunctions(configuration, await loadContracts(configuration), nats, publicServer);
        const wasBad = this.#troubles.has(CONFIGURATION);
        this.#settleTroubles();
        this.#noteRestart(last, configuration.given);
        if (wasBad || !onlyRestartDiffers(last, configuration.given))
          this.log.info('configurationReloaded', { configuration: this.file });
        for (const text of configuration.warnings) this.log.warning('configuration', { text });
        [this.#checksWithErrors, this.#checkLoggedAt] = [0, 0];
        this.#makeDue();
      } catch (error) {
        const isBad = error instanceof ConfigurationError;
        // A different file may be the one to change now.
        if (isBad) [seen, signature] = [error.signature(), error.signature];
        const problems = isBad ? error.problems : [reasonOf(error)];
        this.#noteTrouble(CONFIGURATION, problems);
        for (const reason of problems) this.log.error('configurationReloadFailed', { reason });
      }
    }
  }

  /** Does something now, after each pause, and when the configuration or a secret has changed, until the bridge stops. */
  #repeat(pause: (due: AbortSignal) => Promise<void>, work: () => Promise<void> | undefined): void {
    const { stopping } = this.#lifecycle;
    const repeat = async () => {
      while (!stopping.aborted) {
        const due = AbortSignal.any([stopping, this.#reloaded.signal]);
        await work()?.catch((error: unknown) => this.log.error('failed', { reason: reasonOf(error) }));
        await pause(due).catch(() => undefined);
      }
    };
    void repeat();
  }

  #makeDue(): void {
    const before = this.#reloaded;
    this.#reloaded = new AbortController();
    before.abort();
  }

  /** Until the next self-check: after one without NATS, soon after NATS is back. */
  async #untilCheck(due: AbortSignal): Promise<void> {
    const { natsRetry, natsBack } = this.#settings.timing;
    let left = this.#checkPause();
    if (this.#natsFindings?.isAway !== true) return delay(left, undefined, { signal: due });
    for (; left > 0 && this.#nats?.isLinkUp !== true; left -= natsRetry)
      await delay(Math.min(left, natsRetry), undefined, { signal: due });
    if (left > 0) await delay(natsBack, undefined, { signal: due });
  }

  /** Short while there are errors, so that a fix shows soon; each check calls Azure DevOps, too. */
  #checkPause(): number {
    const { selfCheck, selfCheckRetry } = this.#settings.timing;
    if (this.#checksWithErrors === 0) return selfCheck;
    return Math.min(selfCheck, selfCheckRetry * 2 ** Math.min(this.#checksWithErrors - 1, 3));
  }

  async #checkItself(): Promise<void> {
    const [nats, jetStream, azureDevOps] = [this.#nats, this.#jetStream, this.#azureDevOps];
    const natsFindings = this.#natsFindings;
    if (!nats || !jetStream || !azureDevOps || !natsFindings) return;
    const now = () => this.world.now();
    const settings = this.#settings;
    const [found, subscriptions] = await Promise.all([
      checkAll(settings, () => natsFindings.look(new NatsCheck(settings, nats, jetStream)), azureDevOps, now),
      lookAtSubscriptions(settings, { metrics: this.#metrics, version: this.world.version, now }),
    ]);
    // The end of the bridge may have cut it short.
    if (this.#lifecycle.isStopping()) return;
    this.#noteSubscriptions(subscriptions);
    const findings = [...found, ...(subscriptions?.kind === 'seen' ? subscriptions.findings : [])];
    this.#check = {
      at: this.world.now(),
      findings: findings.map((finding) => ({
        level: finding.level,
        about: finding.about,
        text: describeFinding(finding),
      })),
    };
    const errors = findings.filter(({ level }) => level === 'error').length;
    this.#metrics.checkProblems.set(errors);
    this.#checksWithErrors = errors === 0 ? 0 : this.#checksWithErrors + 1;
    this.#logFindings(findings);
  }

  /** Logs what has changed since the last self-check, and everything once an hour or for a new configuration. */
  #logFindings(findings: readonly Finding[]): void {
    const before = this.#findings;
    this.#findings = findings;
    const now = this.world.now();
    const isAllDue = now - this.#checkLoggedAt >= this.#settings.timing.selfCheck;
    if (isAllDue) this.#checkLoggedAt = now;
    const known = new Set(isAllDue ? [] : before.map(describeFinding));
    for (const finding of findings) {
      const { level, about, problem, remedy } = finding;
      if (!known.has(describeFinding(finding))) this.log[level]('check', { about, problem, remedy });
    }
    const current = new Set(findings.map(({ about }) => about));
    for (const { about, problem } of before) if (!current.has(about)) this.log.info('checkFixed', { about, problem });
  }

  #noteSubscriptions(subscriptions: SubscriptionStates | undefined): void {
    const isNews = !isDeepStrictEqual(this.#subscriptions, subscriptions);
    this.#subscriptions = subscriptions;
    // Otherwise stale values would look current.
    this.#metrics.hookSubscriptions.reset();
    if (subscriptions?.kind === 'unknown' && isNews)
      this.log.info('subscriptionsUnknown', { reason: subscriptions.why });
    if (subscriptions?.kind !== 'seen') return;
    for (const { event, state, count } of subscriptions.states)
      this.#metrics.hookSubscriptions.set({ event, state }, count);
  }

  /** Says what only a restart would take, and when that's over. */
  #noteRestart(last: Configuration['given'], next: Configuration['given']): void {
    const before = this.#restartKeys;
    this.#restartKeys = new Map(
      RESTART_SECTIONS.map((section) => [section, changedKeys(section, this.#startedWith[section], next[section])]),
    );
    for (const [section, keys] of this.#restartKeys) {
      if (isDeepStrictEqual(last[section], next[section])) continue;
      if (keys.length > 0) this.log.warning('restartNeeded', { section, keys: keys.join(', ') });
      else if (before.get(section)?.length) this.log.info('restartNotNeeded', { section });
    }
  }

  /** A changed configuration, except that settings which can't change at run time keep their first values. */
  #withoutRestart(next: Configuration): Configuration {
    const last = this.#configuration;
    if (last === undefined) return next;
    const { instance, http } = last.settings;
    const settings = { ...next.settings, instance, nats: () => last.settings.nats(), http };
    const watched = [
      ...last.watched.filter(({ label }) => needsRestart(label)),
      ...next.watched.filter(({ label }) => !needsRestart(label)),
    ];
    return { ...next, settings, watched };
  }

  get #settings(): BridgeSettings {
    if (this.#configuration === undefined) throw new Error('no configuration yet');
    return this.#configuration.settings;
  }

  #readinessSources() {
    return {
      jetStream: this.#jetStream,
      isLinkUp: this.#nats?.isLinkUp === true,
      streams: streamNeeds(this.#settings).map(({ config }) => config.name),
      hooksTrouble: async () => this.#functions?.hooksTrouble?.(),
      azureDevOpsTrouble: this.#azureDevOpsTrouble(),
      areWaitsKnown: this.#functions?.waits?.()?.areKnown,
      isStopping: this.#lifecycle.isStopping(),
    };
  }

  /** The callout never calls it. */
  #azureDevOpsTrouble(): string | undefined {
    if (this.#settings.callout !== undefined) return undefined;
    return this.#azureDevOps === undefined ? NOT_ASKED : this.#azureDevOps.trouble;
  }

  readonly #onFileTrouble: FileSurroundings['onTrouble'] = (label, problem, kind) => {
    if (problem === undefined) {
      this.#settleTrouble(label);
      if (kind === 'policy') this.log.info('policyReloaded', { policy: label });
      else {
        this.log.info('secretReloaded', { secret: label });
        // Whether it's any good, such as long enough.
        this.#makeDue();
      }
    } else {
      this.#noteTrouble(label, [problem.problem]);
      const why = { reason: problem.problem, remedy: problem.remedy };
      if (kind === 'policy') this.log.error('policyReloadFailed', { policy: label, ...why });
      else this.log.error('secretReloadFailed', { secret: label, ...why });
    }
  };

  #noteTrouble(what: string, problems: readonly string[]): void {
    const since = this.#troubles.get(what)?.since ?? this.world.now();
    this.#troubles.set(what, { what, since, problems });
    this.#metrics.configReloadFailed.set(1);
  }

  /** Settles what a configuration that is taken has just read well. */
  #settleTroubles(): void {
    for (const what of this.#troubles.keys()) if (!needsRestart(what)) this.#settleTrouble(what);
  }

  #settleTrouble(what: string): void {
    this.#troubles.delete(what);
    this.#metrics.configReloadFailed.set(this.#troubles.size > 0 ? 1 : 0);
  }
}

/** The keys of a section, or the section, that have changed. */
function changedKeys(section: string, was: unknown, is: unknown): string[] {
  if (isDeepStrictEqual(was, is)) return [];
  if (!isObject(was) || !isObject(is)) return [section];
  const keys = [...new Set([...Object.keys(was), ...Object.keys(is)])];
  return keys.filter((key) => !isDeepStrictEqual(was[key], is[key])).map((key) => `${section}.${key}`);
}

/** Whether a configuration differs from the last one, but only in what a restart takes. */
function onlyRestartDiffers(last: Configuration['given'], next: Configuration['given']): boolean {
  const differing = Object.keys({ ...last, ...next }).filter((key) => !isDeepStrictEqual(last[key], next[key]));
  return differing.length > 0 && differing.every((key) => RESTART_SECTIONS.includes(key));
}

/** Whether a secret stays as the first configuration had it: its label begins with its place, as in `nats.tokenFile`. */
function needsRestart(label: string): boolean {
  return RESTART_SECTIONS.some((section) => label.startsWith(`${section}.`));
}

/** Opens a port. If something else has it, the error names the setting to change. */
async function listenOn(
  setting: 'http.listen' | 'http.admin',
  server: Pick<AdminServer | PublicServer, 'listen'>,
): Promise<void> {
  try {
    await server.listen();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const remedy = `Stop the program that uses this address, or change ${setting}`;
    throw new Error(`${reasonOf(error)}. ${remedy}.`, { cause: error });
  }
}
