import assert from 'node:assert/strict';
import { test } from 'node:test';
import { environmentsIn } from '../../../../bridge/runs/selfApproval.ts';

test("a pipeline's environments are those of its jobs, without duplicates, even in odd YAML", () => {
  const yaml = `stages:
- stage: a
  jobs:
  - deployment: one
    environment: { name: prod, resourceType: Kubernetes }
  - deployment: two
    environment: prod.web
  - job: build
- stage: b
  jobs:
  - deployment: three
    environment: staging
  - deployment: four
    environment: [7]
- c
`;
  assert.deepEqual(environmentsIn(yaml), ['prod', 'staging']);
  for (const other of ['', 'a', '[]', 'stages: {}', 'stages: [{jobs: 1}]', '{', 'a: &a [*a]'])
    assert.deepEqual(environmentsIn(other), [], other);
});
