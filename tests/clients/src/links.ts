// An Apollo link that does what every client of Cardea does. Take it.
import { ApolloLink, type Observable } from '@apollo/client';
import { from, mergeMap, of } from 'rxjs';

/** How the application does it; both say whether it worked. */
interface Means {
  /** `refreshToken`, past this link. */
  readonly refresh: () => Promise<boolean>;
  /** Asks the person for one of these, and hands it to `reauthenticate`. */
  readonly prove: (methods: readonly string[]) => Promise<boolean>;
}

/**
 * Sends a request once more after what it was refused for was mended: an access token that is over, which one request
 * renews for all that wait, and a sign-in that is too long ago. A document of which a part was carried out is not sent again.
 */
export function mending({ refresh, prove }: Means): ApolloLink {
  let refreshing: Promise<boolean> | undefined;
  const renewed = () => {
    refreshing ??= refresh().finally(() => {
      refreshing = undefined;
    });
    return refreshing;
  };
  return new ApolloLink((operation, forward) => {
    const mend = async (result: ApolloLink.Result, mended: readonly string[]): Promise<Observable<ApolloLink.Result>> => {
      if (operation.operationType === 'mutation' && Object.values(result.data ?? {}).some((part) => part !== null)) return of(result);
      for (const { extensions = {} } of result.errors ?? []) {
        const code = String(extensions['code']);
        const methods = Array.isArray(extensions['methods']) ? extensions['methods'].map(String) : [];
        const wanted = code === 'UNAUTHENTICATED' || (code === 'REAUTHENTICATION_REQUIRED' && methods.length > 0);
        if (!wanted || mended.includes(code)) continue;
        if (!(await (code === 'UNAUTHENTICATED' ? renewed() : prove(methods)))) break;
        return send([...mended, code]);
      }
      return of(result);
    };
    const send = (mended: readonly string[]): Observable<ApolloLink.Result> =>
      forward(operation).pipe(mergeMap((result) => from(mend(result, mended)).pipe(mergeMap((outcome) => outcome))));
    return send([]);
  });
}
