import { expect, test } from "vitest";
import { claimsOf, lifetime, roleOf } from "./claims";

const token = (claims: object) => {
  const bytes = String.fromCharCode(...new TextEncoder().encode(JSON.stringify(claims)));
  return `h.${btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}.s`;
};

test("claims are read as UTF-8, whatever the letters", () => {
  expect(claimsOf(token({ exp: 5, email: "ليلى@example.com?>" })).email).toBe("ليلى@example.com?>");
});

test("a token without an end is refused", () => {
  expect(() => claimsOf(token({}))).toThrow("expires");
  expect(() => claimsOf("nothing")).toThrow();
});

test("of several groups the one that may do most counts, and others have no role", () => {
  expect(roleOf({ exp: 1, "cognito:groups": ["party", "staff"] })).toBe("staff");
  expect(roleOf({ exp: 1, "cognito:groups": ["party"] })).toBe("party");
  expect(roleOf({ exp: 1, "cognito:groups": ["party", "auditor"] })).toBe("auditor");
  expect(roleOf({ exp: 1, "cognito:groups": ["staffing"] })).toBeNull();
  expect(roleOf({ exp: 1 })).toBeNull();
});

test("a token's life does not depend on the machine's clock", () => {
  expect(lifetime({ iat: 1_000, exp: 4_600 }, 9_999_999)).toBe(3_600_000);
  expect(lifetime({ exp: 4_600 }, 1_000_000)).toBe(3_600_000);
  expect(lifetime({ iat: 10, exp: 5 })).toBe(0);
});
