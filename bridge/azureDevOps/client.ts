import type { AzureDevOpsSettings } from '../settings.ts';

export class AzureDevOps {
  constructor(private readonly settings: AzureDevOpsSettings) {}
  get trouble(): string | undefined {
    return this.settings.proxy === 'x' ? 'x' : undefined;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
