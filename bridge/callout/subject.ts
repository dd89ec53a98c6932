/** Where servers ask whether a client may sign in. */
export const REQUEST_SUBJECT = '$SYS.REQ.USER.AUTH';
