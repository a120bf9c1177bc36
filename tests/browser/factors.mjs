// Second factors as the browser tests need them.
import { createHmac } from 'node:crypto';

/** The code that a device shows at an instant (RFC 6238). */
export function totp(secret, at) {
  const digit = (letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0');
  const bits = [...secret].map(digit).join('');
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(at / 30_000)));
  const hash = createHmac('sha1', key).update(step).digest();
  const number = hash.readUInt32BE(hash[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}

/** The time by the clock of the server, as an access token that it gave a moment ago tells it. */
export function serverTime(accessToken) {
  const { iat } = JSON.parse(Buffer.from(accessToken.split('.')[1], 'base64url'));
  return iat * 1000;
}

/** An authenticator of the page's browser that keeps passkeys. */
export async function authenticator(cdp, transport) {
  const options = {
    protocol: 'ctap2',
    transport,
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options });
  const send = (command, more) => cdp.send(`WebAuthn.${command}`, { authenticatorId, ...more });
  return {
    /** Whether somebody is there to touch it. */
    present: (enabled) => send('setAutomaticPresenceSimulation', { enabled }),
    /** Whether the person is the owner. */
    verified: (isUserVerified) => send('setUserVerified', { isUserVerified }),
    credentials: async () => (await send('getCredentials')).credentials,
  };
}
