/**
 * Who is signed in. Cognito's authorization code with PKCE; tokens are kept in memory only, so a reloaded page signs in
 * again. What outlives the way to the sign-in page and back (state and code verifier, which open nothing without the
 * code) is in the session's storage, and removed when it is used.
 */

import { InMemoryWebStorage, UserManager, WebStorageStateStore } from "oidc-client-ts";
import { claimsOf, type Role, roleOf } from "./logic/claims";
import type { Settings } from "./settings";

export interface Person {
  token: string;
  email: string;
  role: Role | null;
  partyId: string | null;
  expiresAt: number;
}

type Listener = () => void;

export class Session {
  private readonly manager: UserManager;
  private readonly listeners = new Set<Listener>();
  private person: Person | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly settings: Settings) {
    const { authority, clientId, authorize, token } = settings.signIn;
    this.manager = new UserManager({
      authority,
      client_id: clientId,
      redirect_uri: `${location.origin}/signed-in`,
      response_type: "code",
      scope: "openid",
      metadata: { issuer: authority, authorization_endpoint: authorize, token_endpoint: token },
      userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
      stateStore: new WebStorageStateStore({ store: sessionStorage }),
      automaticSilentRenew: false,
      loadUserInfo: false,
    });
  }

  /** Who is signed in now; the same object until that changes. */
  readonly current = (): Person | null => this.person;

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The token, null where there is none or it has expired. */
  readonly token = (): string | null =>
    this.person !== null && this.person.expiresAt > Date.now() ? this.person.token : null;

  /** Leave for the sign-in page, which leads back to `path`. */
  async begin(path: string): Promise<void> {
    await this.manager.clearStaleState();
    await this.manager.signinRedirect({ state: path });
  }

  /** Take the code that the address carries; returns the path to go on with. */
  async finish(address: string): Promise<string> {
    const user = await this.manager.signinRedirectCallback(address);
    if (!user.id_token) throw new Error("the sign-in gave no token");
    const claims = claimsOf(user.id_token);
    this.become({
      token: user.id_token,
      email: claims.email ?? "",
      role: roleOf(claims),
      partyId: claims["custom:party_id"] ?? null,
      expiresAt: claims.exp * 1000,
    });
    await this.manager.removeUser(); // nothing but this object holds the token
    return typeof user.state === "string" && /^\/(?!\/)/.test(user.state) ? user.state : "/";
  }

  /** Forget the token: it has expired, or the API says so. */
  expire(): void {
    this.become(null);
  }

  /** Forget the token, and let the sign-in forget the person. */
  leave(): void {
    this.become(null);
    const query = new URLSearchParams({ client_id: this.settings.signIn.clientId, logout_uri: `${location.origin}/` });
    location.assign(`${this.settings.signIn.signOut}?${query}`);
  }

  private become(person: Person | null): void {
    clearTimeout(this.timer);
    this.person = person;
    if (person !== null) this.timer = setTimeout(() => this.expire(), Math.max(0, person.expiresAt - Date.now()));
    for (const listener of this.listeners) listener();
  }
}
