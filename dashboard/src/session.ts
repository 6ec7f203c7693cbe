/**
 * Who is signed in. Cognito's authorization code with PKCE; tokens are kept in memory only, so a reloaded page signs in
 * again. What outlives the way to the sign-in page and back (state and code verifier, which open nothing without the
 * code) is in the session's storage, and removed when it is used.
 *
 * The session of who works goes on: shortly before its token expires another one is fetched. That of who has not touched
 * the page since the last one ends.
 */

import type { User, UserManager } from "oidc-client-ts";
import { claimsOf, lifetime, type Role, roleOf } from "./logic/claims";
import type { Settings } from "./settings";

export interface Person {
  email: string;
  role: Role | null;
  partyId: string | null;
}

interface Token {
  value: string;
  /** By the clock of this machine. */
  expiresAt: number;
}

/** The share of a token's life after which it is renewed. */
const RENEWED = 0.9;

type Listener = () => void;

export class Session {
  private loading: Promise<UserManager> | null = null;
  private readonly listeners = new Set<Listener>();
  private person: Person | null = null;
  private kept: Token | null = null;
  private timers: ReturnType<typeof setTimeout>[] = [];
  private used = false;
  /** It is time to renew the token, and nobody has touched the page yet. */
  private due = false;

  constructor(private readonly settings: Settings) {
    for (const sign of ["keydown", "pointerdown", "wheel"]) {
      addEventListener(sign, () => this.use(), { capture: true, passive: true });
    }
  }

  /** Who is signed in now; the same object until that changes. */
  readonly current = (): Person | null => this.person;

  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** The token, null where there is none or it has expired. */
  readonly token = (): string | null =>
    this.kept !== null && this.kept.expiresAt > Date.now() ? this.kept.value : null;

  /** Leave for the sign-in page, which leads back to `path`. */
  async begin(path: string): Promise<void> {
    const manager = await this.manager();
    await manager.clearStaleState();
    await manager.signinRedirect({ state: path });
  }

  /** Take the code that the address carries; returns the path to go on with. */
  async finish(address: string): Promise<string> {
    const user = await (await this.manager()).signinRedirectCallback(address);
    this.take(user);
    return typeof user.state === "string" && /^\/(?!\/)/.test(user.state) ? user.state : "/";
  }

  /** Forget the tokens: they have expired, or the API says so. */
  expire(): void {
    void this.forget();
    this.hold(null);
    this.become(null);
  }

  /** Forget the tokens, and let the sign-in forget the person. */
  leave(): void {
    this.expire();
    const query = new URLSearchParams({ client_id: this.settings.signIn.clientId, logout_uri: `${location.origin}/` });
    location.assign(`${this.settings.signIn.signOut}?${query}`);
  }

  /** The library that speaks with the sign-in; loaded when it is needed first, as the page is there sooner without it. */
  private manager(): Promise<UserManager> {
    this.loading ??= managerOf(this.settings.signIn).catch((error: unknown) => {
      this.loading = null; // the next time tries again
      throw error;
    });
    return this.loading;
  }

  private async forget(): Promise<void> {
    if (this.loading !== null) await (await this.loading).removeUser();
  }

  private take(user: User): void {
    if (!user.id_token) throw new Error("the sign-in gave no token");
    const claims = claimsOf(user.id_token);
    const person = { email: claims.email ?? "", role: roleOf(claims), partyId: claims["custom:party_id"] ?? null };
    // Counted from now: the machine's clock need not be that of who made the token.
    this.hold({ value: user.id_token, expiresAt: Date.now() + lifetime(claims) });
    const same = this.person?.email === person.email && this.person.role === person.role && this.person.partyId === person.partyId;
    if (!same) this.become(person);
  }

  private hold(token: Token | null): void {
    this.timers.forEach(clearTimeout);
    this.kept = token;
    this.used = this.due = false;
    if (token === null) return;
    const left = token.expiresAt - Date.now();
    this.timers = [
      setTimeout(() => (this.used ? void this.renew() : (this.due = true)), left * RENEWED),
      setTimeout(() => this.expire(), left),
    ];
  }

  private use(): void {
    this.used = true;
    if (!this.due) return;
    this.due = false;
    void this.renew();
  }

  /**
   * Fetch the next token; where that fails, the present one lasts as long as it does. If the network failed, the
   * next touch tries again.
   */
  private async renew(): Promise<void> {
    const token = this.kept;
    try {
      const manager = await this.manager();
      const before = await manager.getUser();
      if (!before?.refresh_token) return; // without one the library would open a frame
      const user = await manager.signinSilent();
      if (this.kept !== token) await manager.removeUser(); // the session ended meanwhile: keep nothing of it
      else if (user !== null) this.take(user);
    } catch (error) {
      if (this.kept === token && error instanceof Error && ["TypeError", "ErrorTimeout"].includes(error.name)) this.due = true;
      console.warn("the session was not renewed", error instanceof Error ? error.name : "");
    }
  }

  private become(person: Person | null): void {
    this.person = person;
    for (const listener of this.listeners) listener();
  }
}

async function managerOf({ authority, clientId, authorize, token }: Settings["signIn"]): Promise<UserManager> {
  const { InMemoryWebStorage, UserManager, WebStorageStateStore } = await import("oidc-client-ts");
  return new UserManager({
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
