/** Questions to the archive, and their answers, for staff and auditors. */

import type { Row } from "../logic/archive";
import { type Api, answered } from "./client";
import type { operations } from "./schema";

type Body<T> = T extends { content: { "application/json": infer B } } ? B : never;
type Page = Body<operations["get_archive_answers_answer_id"]["responses"][200]>;
export type Questions = Body<operations["get_archive_questions"]["responses"][200]>["questions"];
export type Question = Questions[string];
/** A page of an answer, or how far it is. */
export type Answer = Omit<Page, "rows"> & { rows?: readonly { section: number; row: Row }[] };

export async function readQuestions(api: Api): Promise<Questions> {
  return (await answered(api.GET("/archive/questions"))).data.questions;
}

/** Put a question; the id of its answer. */
export async function put(api: Api, name: string, parameters: Record<string, string>): Promise<string> {
  return (await answered(api.POST("/archive/questions/{name}", { params: { path: { name } }, body: parameters }))).data.id;
}

export async function readAnswer(api: Api, id: string, page: number): Promise<Answer> {
  const params = { path: { answer_id: id }, query: { page } };
  return (await answered(api.GET("/archive/answers/{answer_id}", { params }))).data;
}
