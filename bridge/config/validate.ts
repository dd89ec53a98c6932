import { newAjv } from '../../shared/contract/drafts.ts';
import SCHEMA from './config.schema.json' with { type: 'json' };

/** What the published schema makes of a configuration. The bundle has the code that this compiles to: scripts/build/bridge.ts. */
export const validate = newAjv('2020-12').compile(SCHEMA);
