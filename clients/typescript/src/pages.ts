/**
 * Yields the pages of a list, such as `pages(client.read.listUsers, { limit: 100 })`.
 *
 * @param list - a method of a client
 * @param request - the request for the first page
 */
export async function* pages<Request extends object, Page extends { nextPageToken: string }>(
  list: (request: Request) => Promise<Page>,
  request: Request,
): AsyncGenerator<Page, void, undefined> {
  let following = request;
  for (;;) {
    const page = await list(following);
    yield page;
    if (page.nextPageToken === "") {
      return;
    }
    following = { ...request, pageToken: page.nextPageToken, offset: 0 };
  }
}
