import { expect, test } from "vitest";
import { readFigures } from "./figures";

const answer = (status: number, body: unknown) => async () => new Response(JSON.stringify(body), { status });

test("none yet is not a failure, and what may not be read is", async () => {
  expect(await readFigures("t", answer(404, { detail: "no report" }))).toBeNull();
  await expect(readFigures("t", answer(403, { detail: "no" }))).rejects.toMatchObject({ kind: "forbidden" });
  await expect(readFigures(null)).rejects.toMatchObject({ kind: "expired" });
});

test("figures of another version are not shown as if they were known", async () => {
  await expect(readFigures("t", answer(200, { version: 2 }))).rejects.toThrow("another version");
});
