/** A page as wide and high as the listing wants its pictures. */
export const WIDTH = 1366;
export const HEIGHT = 768;

/** Text as HTML that shows it. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${String(character.charCodeAt(0))};`);
}

/** The agent and Azure DevOps are stand-ins, whose addresses mean nothing to others. Everything else is what users see. */
const NOTE = 'From a local run; addresses are made up';

/** A page in a plain frame which says what it shows and where that is from. */
export function page(title: string, style: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${escapeHtml(title)}</title>
<style>
* { box-sizing: border-box; }
body { margin: 0; width: ${WIDTH}px; height: ${HEIGHT}px; overflow: hidden; display: flex; flex-direction: column;
  font: 14px/1.45 'Liberation Sans', sans-serif; color: #24292f; background: #fff; }
.frame { flex: none; display: flex; align-items: baseline; gap: 16px; padding: 11px 24px; background: #25558f; color: #fff; }
.frame b { font-size: 17px; }
.frame span { margin-left: auto; font-size: 13px; }
code, pre, .mono { font-family: 'DejaVu Sans Mono', monospace; }
${style}
</style>
<div class="frame"><b>${escapeHtml(title)}</b><span>${NOTE}</span></div>
${body}
</html>
`;
}
