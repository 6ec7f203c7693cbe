import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { answered } from "../api/client";
import { useParts, usePerson } from "../parts/context";
import { useTitle } from "../parts/frame";
import { Facts, Money, OrderLink, PartyLink, Status, Table, Version, When, WhenHeading } from "../parts/show";
import { Answer, Failure, Loading } from "../parts/states";

type Role = "buyer" | "seller";

export function PartyPage({ id, role }: { id: string; role: Role }) {
  useTitle(`Party ${id}`);
  const isStaff = usePerson()?.role === "staff";
  return (
    <>
      <p className="kind">Party</p>
      <h1 className="id">{id}</h1>
      {isStaff && <About id={id} />}
      <h2>Orders</h2>
      <nav className="tabs" aria-label="The party's orders">
        {(["buyer", "seller"] as const).map((each) => (
          <Link key={each} to="/parties/$id" params={{ id }} search={each === "seller" ? { role: each } : {}} resetScroll={false}
            activeOptions={{ exact: true, includeSearch: true }} aria-current={each === role ? "page" : undefined}>
            as {each}
          </Link>
        ))}
      </nav>
      <Orders id={id} role={role} />
    </>
  );
}

function About({ id }: { id: string }) {
  const { api } = useParts();
  const customer = useQuery({
    queryKey: ["customer", id],
    queryFn: async () => (await answered(api.GET("/customers/{customer_id}", { params: { path: { customer_id: id } } }))).data,
  });
  return (
    <Answer of={customer} what={`party ${id}`}>
      {(found) => (
        <Facts
          of={[
            ["Name", found.name ?? "–"],
            ["Status", <Status key="s" of={found.status} />],
            ["Kind", found.kind ?? "–"],
            ["Country", found.country_code ? country(found.country_code) : "–"],
            ["Registered", <When key="r" at={found.registered_at} />],
            ["Feedback", found.feedback_score ?? "–"],
            ["Version", <Version key="v" of={found._version} />],
          ]}
        />
      )}
    </Answer>
  );
}

function country(code: string): string {
  try {
    return new Intl.DisplayNames(undefined, { type: "region" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function Orders({ id, role }: { id: string; role: Role }) {
  const { api } = useParts();
  const pages = useInfiniteQuery({
    queryKey: ["party orders", id, role],
    initialPageParam: null as string | null,
    queryFn: async ({ pageParam }) => {
      const query = { role, limit: 50, ...(pageParam === null ? {} : { cursor: pageParam }) };
      return (await answered(api.GET("/parties/{party_id}/orders", { params: { path: { party_id: id }, query } }))).data;
    },
    getNextPageParam: (page) => page.cursor,
  });
  if (pages.data === undefined) {
    return pages.isError ? <Failure error={pages.error} retry={() => void pages.refetch()} /> : <Loading what="orders" />;
  }
  const orders = pages.data.pages.flatMap((page) => page.orders);
  const other = role === "buyer" ? "seller" : "buyer";
  return (
    <>
      <Table
        title={`Orders as ${role}, newest first`}
        rows={orders}
        id={(order) => order.order_id}
        empty={`No orders as ${role}.`}
        columns={[
          { title: "Order", cell: (order) => <OrderLink id={order.order_id} /> },
          { title: "Status", cell: (order) => <Status of={order.status} /> },
          { title: <WhenHeading>Placed</WhenHeading>, cell: (order) => <When at={order.placed_at} inTable /> },
          { title: other === "seller" ? "Seller" : "Buyer", cell: (order) => <PartyLink id={order[`${other}_id`]} /> },
          { title: "Hammer price", numeric: true, cell: (order) => <Money amount={order.hammer_price} currency={order.currency} /> },
          { title: "Premium", numeric: true, spare: true, cell: (order) => <Money amount={order.buyers_premium} currency={order.currency} /> },
          { title: "Commission", numeric: true, spare: true, cell: (order) => <Money amount={order.sellers_commission} currency={order.currency} /> },
        ]}
      />
      {orders.length > 0 && (
        <p className="more">
          <span aria-live="polite">
            {orders.length} {orders.length === 1 ? "order" : "orders"}
            {pages.hasNextPage ? ", and more" : ""}.
          </span>{" "}
          {pages.hasNextPage && (
            <button type="button" disabled={pages.isFetchingNextPage} onClick={() => void pages.fetchNextPage()}>
              {pages.isFetchingNextPage ? "Loading…" : "Show more"}
            </button>
          )}
        </p>
      )}
      {pages.isFetchNextPageError && <Failure error={pages.error} retry={() => void pages.fetchNextPage()} />}
    </>
  );
}
