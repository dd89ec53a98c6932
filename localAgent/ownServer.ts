import type { Connection } from './connections.ts';
import { knownVariables } from './knownVariables.ts';
import { type NatsServer, startNatsServer } from './natsServer.ts';
import { type NatsStep, type OwnStream, ownStreams } from './ownStreams.ts';
import { checkPipelineFile, type PipelineFileOptions, readPipelineFile } from './pipelineFile.ts';
import type { Pipeline } from './pipelineSyntax.ts';
import { problemAt, type YamlMap } from './pipelineYaml.ts';
import { probablyMeant } from '../shared/text/nearest.ts';
import { createStreams } from './streams.ts';
import { connectionNames, findTask, hasTask, inputNamed, inputsOf } from './taskDefinition.ts';

/** A nats-server for one run, on a free port of 127.0.0.1, with an empty store that goes with it. */
export class OwnServer implements AsyncDisposable {
  /** Those of the file that weren't given. */
  readonly connections: Readonly<Record<string, Connection>>;
  /** What it is, for the log: sentences. */
  readonly description: string;
  /** Of names that look like one connection, misspelt. */
  readonly warnings: readonly string[];

  private constructor(
    private readonly server: NatsServer,
    names: readonly string[],
    streams: readonly OwnStream[],
    warnings: readonly string[],
  ) {
    this.warnings = warnings;
    this.connections = connectionsTo(server.url, names);
    const list = streams.map(({ name, subjects }) => `the stream ${name} (${subjects.join(', ')})`);
    const made = list.length === 0 ? 'no stream' : inWords(list);
    this.description = `Started nats-server ${server.version} at ${server.url} with ${made}, for the service ${names.length === 1 ? 'connection' : 'connections'} ${inWords(names)}. It ends with the run, and keeps nothing.`;
  }

  /**
   * Starts a server for a pipeline file, after all checks of the file.
   * @param streams the ones to make; where none is given, those that the steps need
   * @throws Error when nothing would use the server, and as {@link checkPipelineFile} does
   */
  static async start(
    file: string,
    options: PipelineFileOptions,
    streams: readonly OwnStream[] = [],
  ): Promise<OwnServer> {
    const { pipeline, extension } = readPipelineFile(file, options);
    const uses = usesOf(pipeline, extension, options);
    const given = new Set(Object.keys(options.connections ?? {}).map((name) => name.toLowerCase()));
    const names = [...new Set(uses.map(({ connection }) => connection))].filter(
      (name) => !given.has(name.toLowerCase()) && !name.includes('$('),
    );
    checkPipelineFile(file, { ...options, connections: { ...connectionsTo('', names), ...options.connections } });
    if (pipeline.stages.some(({ jobs }) => jobs.some(({ isAgentless }) => isAgentless)))
      throw new Error(
        '--nats: a job with pool: server waits at a bridge, which reads a server of its own. Start one for both, and give it with --connection.',
      );
    if (names.length === 0)
      throw new Error('--nats: no step needs a server: each names a service connection that is given, or none.');
    const own = uses.filter(({ connection }) => names.includes(connection)).map(({ step }) => step);
    const made = streams.length > 0 ? streams : ownStreams(own);
    const server = await startNatsServer();
    try {
      await createStreams(server.url, made);
    } catch (error) {
      await server.stop();
      throw error;
    }
    const givenNames = Object.keys(options.connections ?? {});
    const warnings = names.flatMap((name, index) => {
      const meant = nearlySame(name, [...givenNames, ...names.slice(0, index)]);
      const use = uses.find(({ connection }) => connection === name);
      if (meant === undefined || use === undefined) return [];
      const problem = `The service connections ${meant} and ${name} differ by one letter, and --nats stands in for any name. In Azure DevOps, a pipeline with a connection that isn't there fails. If one is misspelt, fix it.`;
      return [problemAt(use.step.entry, problem, 'natsConnection').message];
    });
    return new OwnServer(server, names, made, warnings);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop();
  }
}

/** The name that differs from another by one letter; those that differ only by a number are meant. */
function nearlySame(name: string, others: readonly string[]): string | undefined {
  const letters = (text: string): string => text.toLowerCase().replace(/\d+/g, '');
  return probablyMeant(
    name,
    others.filter((other) => letters(other) !== letters(name)),
    1,
  );
}

function connectionsTo(url: string, names: readonly string[]): Record<string, Connection> {
  return Object.fromEntries(names.map((name) => [name, { url, scheme: 'None' }]));
}

/** The steps that lead to NATS, with the service connection of each. */
function usesOf({ stages }: Pipeline, extension: string, options: PipelineFileOptions) {
  return stages
    .flatMap(({ jobs }) => jobs)
    .flatMap((job) => {
      const variables = knownVariables(job, options.variables);
      return job.steps.flatMap((step) => {
        if (!('task' in step) || !hasTask(extension, step.task)) return [];
        const { definition } = findTask(extension, step.task);
        // The checks have reported inputs that the task doesn't have.
        const given = Object.entries(step.inputs ?? {}).filter(([key]) => inputNamed(definition, key));
        const values = inputsOf(definition, Object.fromEntries(given));
        const value = (name: string): string => variables.expand(values.get(name) ?? '').trim();
        const input = definition.inputs?.find(({ type }) => type.startsWith('connectedService:NatsServer'));
        const entry = (typeof step.source.inputs === 'object' ? step.source.inputs : step.source) as YamlMap;
        const lines = value('subject').split('\n');
        const nats: NatsStep = {
          entry,
          subjects: lines.map((line) => line.trim()).filter(Boolean),
          delivery: value('delivery'),
          isPublisher: definition.name.startsWith('Publish'),
          stream: value('stream') || undefined,
        };
        return (input ? connectionNames(input, value(input.name)) : []).map((connection) => ({
          connection,
          step: nats,
        }));
      });
    });
}

function inWords(list: readonly string[]): string {
  return new Intl.ListFormat('en').format(list);
}
