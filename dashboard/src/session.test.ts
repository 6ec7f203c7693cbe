import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Session } from "./session";
import type { Settings } from "./settings";

const oidc = vi.hoisted(() => ({ answers: [] as (() => Promise<unknown>)[], tried: 0, kept: false }));

vi.mock("oidc-client-ts", async (original) => ({
  ...(await original<typeof import("oidc-client-ts")>()),
  UserManager: class {
    signinRedirectCallback = async () => user("first");
    getUser = async () => user("first");
    removeUser = async () => { oidc.kept = false; };
    signinSilent = async () => {
      oidc.tried += 1;
      const found = await oidc.answers.shift()?.();
      oidc.kept = true;
      return found;
    };
  },
}));

const HOUR = 3_600_000;
const settings = { signIn: { authority: "https://a", clientId: "c", authorize: "a", token: "t", signOut: "https://out" } } as Settings;

function token(name: string): string {
  const begun = Math.floor(Date.now() / 1000);
  return `${name}.${btoa(JSON.stringify({ iat: begun, exp: begun + 3600, email: "a@b.example" }))}.x`;
}
const user = (name: string) => ({ id_token: token(name), refresh_token: "r" });

let touch: () => Promise<unknown>;

beforeEach(() => {
  vi.useFakeTimers();
  const listeners: (() => void)[] = [];
  vi.stubGlobal("location", { origin: "https://staff", assign: () => undefined });
  vi.stubGlobal("sessionStorage", {});
  vi.stubGlobal("addEventListener", (name: string, listener: () => void) => name === "keydown" && listeners.push(listener));
  vi.spyOn(console, "warn").mockImplementation(() => undefined);
  touch = () => {
    for (const listener of listeners) listener();
    return vi.advanceTimersByTimeAsync(0);
  };
  Object.assign(oidc, { answers: [], tried: 0, kept: false });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

async function signedIn(): Promise<Session> {
  const session = new Session(settings);
  await session.finish("");
  return session;
}

const holds = (session: Session) => session.token()?.split(".")[0] ?? null;
const fails = () => Promise.reject(new TypeError("Failed to fetch"));

test("a renewal that got no answer is tried again at the next touch, and one that is refused is not", async () => {
  const { ErrorResponse } = await import("oidc-client-ts");
  const session = await signedIn();
  oidc.answers = [fails, fails, async () => user("second"), () => Promise.reject(new ErrorResponse({ error: "invalid_grant" }))];
  await touch();
  await vi.advanceTimersByTimeAsync(0.91 * HOUR);
  expect([oidc.tried, holds(session)]).toEqual([1, "first"]);
  await touch();
  await touch();
  expect([oidc.tried, holds(session)]).toEqual([3, "second"]);
  await touch();
  await vi.advanceTimersByTimeAsync(0.91 * HOUR);
  await touch();
  await touch();
  expect([oidc.tried, holds(session)]).toEqual([4, "second"]);
  await vi.advanceTimersByTimeAsync(0.1 * HOUR);
  expect([holds(session), session.current()]).toEqual([null, null]);
});

test("a renewal that is answered after signing out, or after the token has expired, brings nobody back", async () => {
  for (const end of [(session: Session) => session.leave(), () => vi.advanceTimersByTimeAsync(0.1 * HOUR)]) {
    const session = await signedIn();
    let answer: (found: unknown) => void = () => undefined;
    oidc.answers = [() => new Promise((resolve) => (answer = resolve))];
    await touch();
    await vi.advanceTimersByTimeAsync(0.91 * HOUR);
    await end(session);
    answer(user("late"));
    await touch();
    expect([holds(session), session.current(), oidc.kept]).toEqual([null, null, false]);
  }
});
