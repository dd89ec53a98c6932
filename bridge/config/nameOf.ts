import { shown } from './shown.ts';
import type { Path } from './yamlFile.ts';

/** How people write a path: `hooks.events[0].project`. */
export function nameOf(place: Path): string {
  return place
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index === 0 ? '' : '.'}${shownKey(step)}`))
    .join('');
}

/** An unknown key may be an address. */
function shownKey(key: string): string {
  return key.includes('@') ? shown(key) : key;
}
