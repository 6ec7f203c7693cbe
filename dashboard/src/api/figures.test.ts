import { expect, test } from "vitest";
import { connect } from "./client";
import { readFigures } from "./figures";

const api = (status: number, body: unknown, token: string | null = "t") =>
  connect("https://house.example/api", () => token, async (request) => {
    expect(new URL((request as Request).url).pathname).toBe("/api/figures");
    return new Response(JSON.stringify(body), { status, headers: { "Content-Type": "application/json" } });
  });

test("none yet is not a failure, and what may not be read is", async () => {
  expect(await readFigures(api(404, { detail: "no figures" }))).toBeNull();
  expect(await readFigures(api(200, { version: 1, sections: [] }))).toMatchObject({ version: 1 });
  await expect(readFigures(api(403, { detail: "no" }))).rejects.toMatchObject({ kind: "forbidden" });
  await expect(readFigures(api(200, {}, null))).rejects.toMatchObject({ kind: "expired" });
});

test("figures of another version are not shown as if they were known", async () => {
  await expect(readFigures(api(200, { version: 2 }))).rejects.toThrow("another version");
});
