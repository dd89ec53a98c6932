import { randomInt, randomUUID } from 'node:crypto';
import { buildRoutes } from './buildRoutes.ts';
import { Builds, type RunResult, type RunState, type StartedRun } from './builds.ts';
import type { Entra } from './entra.ts';
import { Environments } from './environments.ts';
import { Feeds } from './feeds.ts';
import { hookBodies, type HookBody } from './hookBodies.ts';
import { Pipelines } from './pipelines.ts';
import { PlanIssuer } from './planIssuer.ts';
import { planRoutes } from './planRoutes.ts';
import { Plans } from './plans.ts';
import { coreRoutes, type Organization, type Project } from './projects.ts';
import { findRoute, versionProblem, type ApiRoute } from './routes.ts';
import { runRoutes } from './runRoutes.ts';
import { refused, SignIn, signInPage, type RefusalForm } from './signIn.ts';
import { Subscriptions } from './subscriptions.ts';
import { StandInServer, type Answer, type RecordedRequest } from './standInServer.ts';
import type { ValidationForm } from './templateParameters.ts';

export interface AzureDevOpsOptions {
  /** The organization's name; default `contoso`. */
  readonly organization?: string;
  /** Its projects; default `Shop` and `Orders & Co`. */
  readonly projects?: readonly Project[];
  /** The Entra whose tokens it accepts, besides its own personal access tokens. */
  readonly entra?: Entra;
}

/**
 * A stand-in for an Azure DevOps Services organization: the parts of the REST API that the bridge uses, as strict as
 * the real ones and with their moods. It records every request.
 */
export class AzureDevOps extends StandInServer {
  readonly signIn: SignIn;
  /** A valid personal access token. */
  readonly pat: string;
  /** How refused callers are answered; tests of one form set it. */
  refusalForm: RefusalForm = 'byRoute';
  /** Which error reports invalid parameters; tests of one form set it. */
  validationForm: ValidationForm = 'byProblem';
  readonly pipelines: Pipelines;
  readonly builds = new Builds();
  readonly feeds = new Feeds();
  readonly environments = new Environments();
  readonly subscriptions: Subscriptions;
  /** Distributed task plans, and the API that tasks call back. */
  readonly plans: Plans;
  /** Issues the ID tokens of jobs. */
  readonly issuer: PlanIssuer;
  readonly #name: string;
  readonly #projects: readonly Project[];
  readonly #accountId = randomUUID();
  readonly #collectionId = randomUUID();
  readonly #routes: ApiRoute[] = [];
  #nextHookSeed = randomInt(2 ** 31);

  static async start(options: AzureDevOpsOptions = {}): Promise<AzureDevOps> {
    const azure = new AzureDevOps(options);
    await azure.listen();
    return azure;
  }

  private constructor({ organization = 'contoso', projects, entra }: AzureDevOpsOptions) {
    super();
    this.#name = organization;
    this.#projects = projects ?? ['Shop', 'Orders & Co'].map((name) => ({ id: randomUUID(), name }));
    this.signIn = new SignIn(entra);
    this.pat = this.signIn.addPat();
    this.pipelines = new Pipelines(this.#projects);
    this.plans = new Plans(this.signIn, this.#projects);
    this.issuer = new PlanIssuer(() => ({ origin: this.origin, organization: this.organization }));
    const area = { organization: () => this.organization, pipelines: this.pipelines, builds: this.builds };
    this.subscriptions = new Subscriptions(area.organization);
    this.add(coreRoutes(area.organization));
    this.add(this.subscriptions.routes());
    this.add(buildRoutes(area));
    this.add(this.feeds.routes(area.organization));
    this.add(this.environments.routes(area.organization));
    this.add(runRoutes({ ...area, validationForm: () => this.validationForm }));
    this.add(planRoutes(this.plans, this.issuer));
  }

  /** The organization's address, with closing slash. */
  get url(): string {
    return `${this.origin}/${encodeURIComponent(this.#name)}/`;
  }

  get organization(): Organization {
    return {
      ...{ name: this.#name, url: this.url, projects: this.#projects },
      ...{ accountId: this.#accountId, collectionId: this.#collectionId },
    };
  }

  /** The runs that were started, oldest first. */
  get runs(): readonly StartedRun[] {
    return this.builds.runs;
  }

  /** Brings a run into a state, and returns the service hook's post about it: each call is a new event. */
  runStateHook(run: StartedRun, state: RunState, result?: RunResult): HookBody {
    this.builds.move(run, state, result);
    const { organization } = this;
    const { id, name: displayName, account: uniqueName } = run.identity;
    const { project, pipeline } = run;
    return hookBodies({ seed: this.#nextHookSeed++, organization, project, pipeline }).runStateChanged(state, {
      ...{
        runId: run.id,
        name: run.name,
        templateParameters: run.parameters,
        requestedFor: { id, displayName, uniqueName },
      },
      ...(run.result !== undefined && { result: run.result }),
    });
  }

  /** Adds routes to the REST API; of two routes for the same request, the newer one counts. */
  add(routes: readonly ApiRoute[]): void {
    this.#routes.unshift(...routes);
  }

  protected override async answer(request: RecordedRequest): Promise<Answer> {
    const [, name = '', ...rest] = request.path.split('/');
    if (name === '_signin') return { status: 200, headers: { 'Content-Type': 'text/html' }, body: signInPage() };
    if (name === '_oidc') return this.issuer.answer(request);
    if (decodeURIComponent(name).toLowerCase() !== this.#name.toLowerCase()) {
      return {
        status: 404,
        headers: { 'Content-Type': 'text/html' },
        body: '<html>The resource cannot be found.</html>',
      };
    }
    const path = rest.join('/');
    const found = findRoute(this.#routes, request.method, path);
    const identity = this.signIn.identify(request.headers.authorization);
    if (typeof identity === 'string') {
      const redirectsToSignIn = 'route' in found && found.route.redirectsToSignIn === true;
      const { method } = request;
      return refused(identity, { method, origin: this.origin, form: this.refusalForm, redirectsToSignIn });
    }
    const answer =
      'route' in found
        ? (versionProblem(found.route, request) ??
          (await found.route.answer({ ...request, identity, parameters: found.parameters })))
        : found;
    const traces = { ActivityId: randomUUID(), 'X-VSS-UserData': `${identity.id}:${identity.account}` };
    return { ...answer, headers: { ...answer.headers, ...traces } };
  }
}
