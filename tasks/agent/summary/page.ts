import { markdownBlock } from './markdown.ts';

/** Most lines of an error's details, such as a block of permissions. */
const MOST_DETAILS = 40;

/** A summary for people who do not know the task: what happened and what to do first, evidence after. All of it is Markdown. */
export interface SummaryPage {
  readonly title: string;
  readonly happened: string;
  readonly todo: string;
  /** An error's details, verbatim. */
  readonly details: readonly string[] | undefined;
  /** Empty ones are left out. */
  readonly evidence: readonly string[];
}

/** The page as one text. */
export function summaryPage({ title, happened, todo, details = [], evidence }: SummaryPage): string {
  const parts = [
    `## ${title}`,
    `**What happened:** ${happened}`,
    `**What to do:** ${todo}`,
    details.length === 0 ? '' : markdownBlock(details.slice(0, MOST_DETAILS)),
    ...evidence,
  ];
  return `${parts.filter(Boolean).join('\n\n')}\n`;
}
