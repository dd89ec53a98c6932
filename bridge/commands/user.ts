import { userInfo } from 'node:os';

/** Who gives an order, as the system knows them; in a container, there may be nobody of that number. */
export function currentUser(): string {
  try {
    return userInfo().username;
  } catch {
    return 'unknown';
  }
}
