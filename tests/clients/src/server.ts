// What both scripts need of the server at BASE_URL besides GraphQL.
import assert from 'node:assert/strict';

export const SERVER = process.env['BASE_URL'] ?? assert.fail('BASE_URL is not set');
export const PASSWORD = 'Correct-Horse-7';
export const ROOT = 'root@example.org';
export const ROOT_PASSWORD = process.env['ADMIN_PASSWORD'] ?? '';

/** Lets twenty minutes go by at the server. */
export async function later(): Promise<void> {
  assert.equal((await fetch(process.env['LATER'] ?? assert.fail('LATER is not set'), { method: 'POST' })).status, 204);
}

interface Mail {
  to: string;
  links: string[];
}

/** The token in the newest mail to an address, once it is there. */
export async function mailedToken(address: string): Promise<string> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline) {
    const response = await fetch(new URL('/inbox/messages.json', SERVER));
    const mails = (await response.json()) as Mail[];
    const token = mails.find(({ to, links }) => to === address && links.length > 0)?.links[0]?.split('token=')[1];
    if (token) return token;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return assert.fail(`no mail to ${address}`);
}

/** A browser's cookies, for the one server there is. */
export class Cookies {
  readonly #kept = new Map<string, string>();

  get names(): string[] {
    return [...this.#kept.keys()];
  }

  get(name: string): string {
    return this.#kept.get(name) ?? assert.fail(`there is no cookie ${name}`);
  }

  /** As the `fetch` of a page of the server's own origin. */
  readonly fetch: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    headers.set('origin', new URL(SERVER).origin);
    headers.set('graphql-require-preflight', '1');
    if (this.#kept.size > 0) headers.set('cookie', [...this.#kept].map(([name, value]) => `${name}=${value}`).join('; '));
    const response = await fetch(input, { ...init, headers });
    for (const cookie of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = cookie.match(/^([^=]+)=([^;]*)/) ?? [];
      if (value) this.#kept.set(name, value);
      else this.#kept.delete(name);
    }
    return response;
  };
}
