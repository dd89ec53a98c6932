import type { HookBody, HookWorld } from './hookWorld.ts';

export interface PushValues {
  readonly branch?: string;
  readonly commit?: string;
  /** How many commits are listed; undefined: the list is missing, as it may be. */
  readonly commits?: number | undefined;
  /** The branch is new, or deleted. */
  readonly change?: 'created' | 'deleted';
}

export interface PullRequestValues {
  readonly pullRequestId?: number;
  readonly status?: 'active' | 'completed' | 'abandoned';
  readonly mergeStatus?: 'succeeded' | 'conflicts' | 'failure' | 'rejectedByPolicy';
  readonly isDraft?: boolean;
  readonly vote?: 10 | 5 | 0 | -5 | -10;
  readonly title?: string;
}

/** Git's null id: the branch didn't exist before, or doesn't afterwards. */
const NOTHING = '0'.repeat(40);

/** Pushes and pull requests. */
export function codeHooks(world: HookWorld) {
  const { ada, bob, project, random } = world;
  const repositoryOf = () => ({
    ...world.repository,
    url: world.api(`git/repositories/${world.repository.id}`),
    project: { ...project, url: `${world.organization.url}_apis/projects/${project.id}`, state: 'wellFormed' },
    ...{ defaultBranch: 'refs/heads/main', remoteUrl: world.page(`_git/${world.repository.name}`) },
  });

  function pullRequestOf(values: PullRequestValues) {
    const { pullRequestId = 1 + random.below(9_000), status = 'active', mergeStatus = 'succeeded' } = values;
    const commitOf = (commitId: string) => ({ commitId, url: world.api(`git/commits/${commitId}`) });
    const reviewer = { ...world.identity(bob), vote: values.vote ?? 0, hasDeclined: false, isFlagged: false };
    return {
      ...{ repository: repositoryOf(), pullRequestId, codeReviewId: pullRequestId, status },
      ...{ createdBy: world.identity(ada), creationDate: world.ago(600) },
      ...(status !== 'active' && { closedDate: world.ago() }),
      ...{ title: values.title ?? 'Show prices', description: 'Why not?', isDraft: values.isDraft ?? false },
      ...{ sourceRefName: 'refs/heads/prices', targetRefName: 'refs/heads/main', mergeStatus, mergeId: random.guid() },
      ...{ lastMergeSourceCommit: commitOf(random.commit()), lastMergeTargetCommit: commitOf(random.commit()) },
      ...(mergeStatus === 'succeeded' && { lastMergeCommit: commitOf(random.commit()) }),
      ...{ reviewers: [reviewer], supportsIterations: true },
      url: world.api(`git/repositories/${world.repository.id}/pullRequests/${pullRequestId}`),
    };
  }

  function happened(eventType: string, resourceVersion: string, text: string, resource: Record<string, unknown>) {
    return world.envelope({
      publisher: 'tfs',
      eventType,
      resourceVersion,
      text: `${ada.displayName} ${text}`,
      resource,
    });
  }

  return {
    /** Service hook events page, and terrakube pull request 3239: `commits` may be absent. */
    gitPushed(values: PushValues = { commits: 1 }): HookBody {
      const { branch = 'refs/heads/main', commit = random.commit(), commits, change } = values;
      const author = { name: ada.displayName, email: ada.uniqueName, date: world.ago(60) };
      const commitOf = (commitId: string) => ({
        ...{ commitId, author, committer: author, comment: 'Fixed a bug' },
        url: world.page(`_git/${world.repository.name}/commit/${commitId}`),
      });
      return happened('git.push', '1.0', `pushed updates to branch ${branch} of ${world.repository.name}.`, {
        ...(commits !== undefined && {
          commits: Array.from({ length: commits }, (_, index) => commitOf(index === 0 ? commit : random.commit())),
        }),
        refUpdates: [
          {
            name: branch,
            oldObjectId: change === 'created' ? NOTHING : random.commit(),
            newObjectId: change === 'deleted' ? NOTHING : commit,
          },
        ],
        ...{ repository: repositoryOf(), pushedBy: world.identity(ada), pushId: 1 + random.below(9_000) },
        ...{ date: world.ago(), url: world.api(`git/repositories/${world.repository.id}/pushes/14`) },
      });
    },

    pullRequestCreated: (values: PullRequestValues = {}): HookBody =>
      happened('git.pullrequest.created', '1.0', 'created a new pull request', pullRequestOf(values)),

    /** It never says what changed: only a subscription for each kind of change can tell. */
    pullRequestUpdated: (values: PullRequestValues = {}): HookBody =>
      happened('git.pullrequest.updated', '1.0', 'updated the pull request', pullRequestOf(values)),

    /** It's sent for each attempt to merge, also for those that fail. */
    pullRequestMerged: (values: PullRequestValues = {}): HookBody =>
      happened('git.pullrequest.merged', '1.0', 'has created a pull request merge commit', pullRequestOf(values)),

    /** At 2.0; the thread's id is only in the comment's links. */
    pullRequestCommented(values: PullRequestValues & { readonly content?: string } = {}): HookBody {
      const pullRequest = pullRequestOf(values);
      const comment = {
        ...{ id: 7, parentCommentId: 0, commentType: 'text', content: values.content ?? 'Nice one.', usersLiked: [] },
        ...{ author: world.identity(bob), publishedDate: world.ago(), lastUpdatedDate: world.ago() },
        _links: {
          self: { href: `${pullRequest.url}/threads/4821/comments/7` },
          threads: { href: `${pullRequest.url}/threads/4821` },
        },
      };
      const resource = { comment, pullRequest };
      return happened('ms.vss-code.git-pullrequest-comment-event', '2.0', 'commented on a pull request', resource);
    },
  };
}
