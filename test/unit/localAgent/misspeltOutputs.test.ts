import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { misspeltOutputs } from '../../../localAgent/misspeltOutputs.ts';

const OUTPUTS = ['wait.event.image', 'wait.event.region', 'wait.verdict', 'other.a'];
const isSet = (name: string) => [...OUTPUTS, 'wait.ofthejob'].includes(name.toLowerCase());

describe('a reference to an output', () => {
  it('that the step did not set gets one warning, with the nearest output or all of them', () => {
    assert.deepEqual(
      misspeltOutputs(
        ['$(wait.event.imag) $(wait.event.imag)', '[$(Wait.nothing)] $(wiat.event.image)'],
        OUTPUTS,
        isSet,
      ),
      [
        'The text keeps $(wait.event.imag) as it is: the step wait set no output event.imag. Did you mean $(wait.event.image)?',
        'The text keeps $(Wait.nothing) as it is: the step Wait set no output nothing. It set event.image, event.region, verdict.',
        'The text keeps $(wiat.event.image) as it is: no step wiat has set it. Did you mean $(wait.event.image)?',
      ],
    );
  });

  it('is not reported if it is set, if its step set nothing, or if it is no reference', () => {
    const texts = ['$(wait.Verdict) $(wait.ofTheJob) $(late.event.image) $(seq 5) $(wait) $(date +%s.%N) $(ls wait.x)'];
    assert.deepEqual(misspeltOutputs(texts, OUTPUTS, isSet), []);
    assert.deepEqual(misspeltOutputs(['$(wait.other) $(elsewhere.event.image)'], [], isSet), []);
  });

  it('gets a list of at most twenty outputs, with their names neutralised', () => {
    const [warning = ''] = misspeltOutputs(
      ['$(s.none)'],
      Array.from({ length: 30 }, (_, index) => `s.\u001b[1moutput${index}`),
      isSet,
    );
    assert.match(warning, /output19, …\.$/);
    assert.ok(!warning.includes('\u001b'));
  });
});
