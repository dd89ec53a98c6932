import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AzureDevOps } from '../../support/azureDevOps/azureDevOps.ts';
import type { ParameterDeclaration } from '../../support/azureDevOps/templateParameters.ts';
import { start, type Asked } from './asking.ts';

async function startWith(parameters: readonly ParameterDeclaration[], given: unknown): Promise<Asked> {
  await using azure = await AzureDevOps.start();
  const answer = await start(azure, azure.pipelines.declare({ parameters }), { templateParameters: given });
  assert.equal(azure.runs.length, answer.status === 200 ? 1 : 0);
  return answer;
}

function isInvalidPipeline({ status, json }: Asked, message: RegExp): void {
  assert.equal(status, 400);
  const { typeKey, typeName, $id, errorCode, eventId } = json;
  assert.deepEqual(
    { typeKey, typeName, $id, errorCode, eventId },
    {
      typeKey: 'PipelineValidationException',
      typeName: 'Microsoft.Azure.Pipelines.WebApi.PipelineValidationException, Microsoft.Azure.Pipelines.WebApi',
      ...{ $id: '1', errorCode: 0, eventId: 3000 },
    },
  );
  assert.match(json.message, message);
}

describe('the parameters of a run', { concurrency: 4 }, () => {
  test('must be declared', async () => {
    isInvalidPipeline(await startWith([], { natsEventId: 'e' }), /Unexpected parameter 'natsEventId'/);
    isInvalidPipeline(await startWith([{ name: 'a', type: 'string' }], { a: '1', toString: '2' }), /'toString'/);
    isInvalidPipeline(await startWith([{ name: 'Id', type: 'string', default: '' }], { id: '1' }), /'id'/);
  });

  test('are strings', async () => {
    for (const value of [1, true, null, ['a'], { a: 1 }]) {
      const { status, json } = await startWith([{ name: 'a', type: 'object' }], { a: value });
      assert.deepEqual([status, json.typeKey], [400, 'InvalidArgumentValueException'], JSON.stringify(value));
    }
    for (const given of [null, [], 'a']) assert.equal((await startWith([], given)).status, 400);
  });

  for (const [type, good, bad] of [
    ['string', ['', 'x: [', '1'], []],
    ['number', ['1', '-1.5', '.5', '1e3'], ['', 'one', '0x1', '1 ']],
    ['boolean', ['true', 'False'], ['', 'yes', '1']],
    ['object', ['', 'a', '[1, 2]', '{"a": 1}'], ['[1', '{"a"']],
  ] as const) {
    test(`must be valid for the type ${type}`, async () => {
      const declared = [{ name: 'p', type }];
      for (const p of good) assert.equal((await startWith(declared, { p })).status, 200, p);
      for (const p of bad) isInvalidPipeline(await startWith(declared, { p }), /The 'p' parameter value '.*' is not/s);
    });
  }

  test('must be among the allowed values', async () => {
    const declared: ParameterDeclaration[] = [{ name: 'p', type: 'string', default: 'b', values: ['a', 'b'] }];
    assert.equal((await startWith(declared, { p: 'a' })).status, 200);
    isInvalidPipeline(
      await startWith(declared, { p: 'c' }),
      /^\/azure-pipelines\.yml: The 'p' parameter is not a valid/,
    );
  });

  test('are required if they have neither a default nor values', async () => {
    const { status, json } = await startWith([{ name: 'p', type: 'string' }], {});
    assert.equal(status, 400);
    const { typeKey, typeName, message, customProperties } = json;
    assert.deepEqual(
      { typeKey, typeName, message, customProperties },
      {
        typeKey: 'BuildRequestValidationFailedException',
        typeName:
          'Microsoft.TeamFoundation.Build.WebApi.BuildRequestValidationFailedException, Microsoft.TeamFoundation.Build2.WebApi',
        message: 'Could not queue the build because there were validation errors or warnings.',
        customProperties: {
          ValidationResults: [{ result: 'error', message: "A value for the 'p' parameter must be provided." }],
        },
      },
    );
    assert.equal((await startWith([{ name: 'p', type: 'string', default: '' }], {})).status, 200);
    assert.equal((await startWith([{ name: 'p', type: 'string', values: ['a'] }], {})).status, 200);
  });

  test('are refused with all problems at once, in the form that a test asks for', async () => {
    await using azure = await AzureDevOps.start();
    const pipeline = azure.pipelines.declare({ parameters: [{ name: 'p', type: 'string' }] });
    const refusal = async (given: object) => (await start(azure, pipeline, { templateParameters: given })).json;
    assert.match((await refusal({ q: '' })).message, /'q'\n.*'p' parameter must be provided\.$/);
    azure.validationForm = 'build';
    assert.equal((await refusal({ q: '' })).customProperties.ValidationResults.length, 2);
    azure.validationForm = 'pipeline';
    assert.equal((await refusal({})).typeKey, 'PipelineValidationException');
  });
});
