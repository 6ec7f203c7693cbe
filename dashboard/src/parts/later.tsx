/** Pages whose code is loaded once somebody is signed in, so that the sign-in page is there at once. */

import { type FunctionComponent, useEffect, useState } from "react";
import { Problem } from "../api/client";
import { Failure, Loading } from "./states";

const all: (() => Promise<void>)[] = [];

/** A page that loads its code when it is first shown, if it was not loaded before; what fails can be tried again. */
export function later<P extends object>(load: () => Promise<FunctionComponent<P>>): FunctionComponent<P> {
  let Page: FunctionComponent<P> | null = null;
  const get = async () => {
    Page ??= await load();
  };
  all.push(get);
  return function Later(props: P) {
    const [state, setState] = useState<"loading" | "there" | "failed">("loading");
    const begin = () => {
      setState("loading");
      get().then(() => setState("there"), () => setState("failed"));
    };
    useEffect(() => {
      if (Page === null) begin();
    }, []);
    if (Page !== null) return <Page {...props} />;
    return state === "failed" ? <Failure error={new Problem("offline", "")} retry={begin} /> : <Loading what="the page" />;
  };
}

/** Load the code of all pages, so that they are there when they are opened, also without a connection. */
export function loadAll(): void {
  for (const get of all) get().catch(() => undefined); // a page that is opened tries it again, and says what is wrong
}
