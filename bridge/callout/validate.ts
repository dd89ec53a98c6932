import { newAjv } from '../../shared/contract/drafts.ts';
import SCHEMA from './policy.schema.json' with { type: 'json' };

/** What the published schema makes of a policy. The bundle has the code that this compiles to: scripts/build/bridge.ts. */
export const validate = newAjv('2020-12').compile(SCHEMA);
