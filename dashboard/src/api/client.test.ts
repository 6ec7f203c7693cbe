import { expect, test } from "vitest";
import { answered, connect, Problem, problemOf } from "./client";

const json = (status: number, body: unknown) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });

const order = (send: typeof fetch, token: string | null = "t") =>
  answered(connect("http://here/api", () => token, send).GET("/orders/{order_id}", { params: { path: { order_id: "a/b" } } }));

test("a request carries the token, and an id cannot become another path", async () => {
  const seen: Request[] = [];
  await order(async (input) => {
    seen.push(input as Request);
    return json(200, { order: {} });
  });
  expect(seen[0]?.url).toBe("http://here/api/orders/a%2Fb");
  expect(seen[0]?.headers.get("Authorization")).toBe("Bearer t");
});

test("nothing is sent without a token", async () => {
  let sent = 0;
  const refused = order(async () => { sent += 1; return json(200, {}); }, null);
  await expect(refused).rejects.toMatchObject({ kind: "expired" });
  expect(sent).toBe(0);
});

test("each way to fail is distinguished", async () => {
  for (const [status, kind] of [[401, "expired"], [403, "forbidden"], [404, "absent"], [409, "conflict"], [422, "refused"], [429, "busy"], [500, "failed"], [502, "offline"], [503, "busy"]] as const) {
    await expect(order(async () => json(status, { message: "no" }))).rejects.toMatchObject({ kind, status, message: "no" });
  }
  await expect(order(async () => { throw new TypeError("fetch failed"); })).rejects.toMatchObject({ kind: "offline" });
});

test("a problem document says why, and which fields", () => {
  const problem = problemOf(422, {
    title: "The item breaks its contract", detail: "1 problem", instance: "urn:x", errors: [{ field: "status", reason: "no" }],
  });
  expect(problem).toBeInstanceOf(Problem);
  expect([problem.message, problem.instance, problem.fields]).toEqual(["1 problem", "urn:x", [{ field: "status", reason: "no" }]]);
  expect(problemOf(500, "<html>").message).toBe("The API answered with 500.");
});
