/** What an identity token says of a person. For showing only: what a person may do, the API decides. */

/** From the one that may do most on. */
const ROLES = ["staff", "auditor", "party"] as const;
export type Role = (typeof ROLES)[number];

export interface Claims {
  exp: number;
  iat?: number;
  email?: string;
  "cognito:groups"?: string[];
  "custom:party_id"?: string;
}

/** The claims of a token. Throws where it is none. */
export function claimsOf(token: string): Claims {
  const payload = token.split(".")[1] ?? "";
  const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const claims = JSON.parse(new TextDecoder().decode(bytes)) as Claims;
  if (typeof claims.exp !== "number") throw new Error("expected a token that says when it expires");
  return claims;
}

/** As the API decides: of several, the one that may do most; null for a person in none of the groups. */
export function roleOf(claims: Claims): Role | null {
  const groups = claims["cognito:groups"] ?? [];
  return ROLES.find((role) => groups.includes(role)) ?? null;
}

/** For how many milliseconds a token is good from when it was made. */
export function lifetime(claims: Claims, now: number = Date.now()): number {
  const begun = claims.iat === undefined ? now : claims.iat * 1000;
  return Math.max(0, claims.exp * 1000 - begun);
}
