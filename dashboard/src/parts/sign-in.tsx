/** Signing in: the page that asks for it, and the one that the sign-in leads back to. */

import { useRouter } from "@tanstack/react-router";
import { useEffect, useRef, useState } from "react";
import { useParts } from "./context";
import { loadAll } from "./later";
import { Loading, Stop } from "./states";

/** Shown in a page's place while nobody is signed in; `ended` says that a session was there. */
export function SignIn({ ended }: { ended: boolean }) {
  const { session } = useParts();
  const [trouble, setTrouble] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const begin = () => {
    setTrouble(false);
    session.begin(location.pathname + location.search).catch(() => setTrouble(true));
  };
  return (
    <section className="card sign-in" role={ended ? "alert" : undefined}>
      <h1 ref={heading} tabIndex={-1}>
        {ended ? "Your session has ended" : "Sign in"}
      </h1>
      <p>
        {ended
          ? "Sign in again to go on where you were. Nothing that you saw is kept on this machine."
          : "Orders, parties, lots and figures of the auction house."}
      </p>
      <button type="button" className="primary" onClick={begin}>
        {ended ? "Sign in again" : "Sign in"}
      </button>
      {trouble && <p role="alert">The sign-in page could not be reached. Try again.</p>}
    </section>
  );
}

/** Takes the code from the address, once, and goes on to where the person wanted to be. */
export function SignedIn() {
  const { session } = useParts();
  const router = useRouter();
  const [trouble, setTrouble] = useState(false);
  const begun = useRef(false);
  useEffect(() => {
    if (begun.current) return;
    begun.current = true;
    loadAll();
    const address = location.href;
    history.replaceState(history.state, "", "/signed-in"); // the code is good once, and nobody else's
    session
      .finish(address)
      .then((path) => router.navigate({ href: path, replace: true }))
      .catch(() => setTrouble(true));
  }, [session, router]);
  if (!trouble) return <Loading what="your session" />;
  return (
    <Stop title="The sign-in did not succeed">
      <p>It was refused, was for another window, or took too long.</p>
      <button type="button" className="primary" onClick={() => void session.begin("/")}>
        Sign in
      </button>
    </Stop>
  );
}
