import type { Order, Plan } from "@kloudtalk/sdk";
import { Failure, day, useAction, useLoaded, useTalk } from "../ui";

const PLANS: Record<Plan["plan"], string> = { free: "Free", trial: "Free trial", purchased: "Purchased" };
const ORDERS: Record<Order["state"], string> = { pending: "Not paid", paid: "Paid", failed: "Payment failed" };

function price(amount: number, currency: string): string {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(amount / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 2));
}

/** The plan of this account (P29), and whether it is a business (P30). */
export function PlanSettings() {
  const { client, state } = useTalk();
  const plan = useLoaded(() => client.services.plan());
  const orders = useLoaded(() => client.services.orders());
  const act = useAction();
  const business = useAction();
  const value = plan.value;
  return (
    <section class="card stack" aria-labelledby="plan">
      <h2 id="plan">Plan</h2>
      <Failure error={plan.error ?? orders.error ?? act.error} />
      {value === null ? null : <p>{PLANS[value.plan]}{value.until !== undefined ? `, until ${day(value.until)}` : ""}. <span class="soft">Calls are free in every plan.</span></p>}
      {value !== null && value.trial_days > 0 ? (
        <div><button type="button" disabled={act.busy} onClick={() => void act.run(() => client.services.startTrial()).then(plan.again)}>Try it free for {value.trial_days} days</button></div>
      ) : null}
      {(value?.products ?? []).map((one) => (
        <div key={one.product}>
          <button type="button" disabled={act.busy} onClick={() => void act.run(async () => { const order = await client.services.order(one.product); if (order.checkout_url !== undefined) location.assign(order.checkout_url); })}>
            Buy {one.days} days for {price(one.amount, one.currency)}
          </button>
        </div>
      ))}
      {(orders.value ?? []).length > 0 ? (
        <ul class="list" aria-label="My orders">
          {(orders.value ?? []).map((order) => (
            <li key={order.order}>
              <div class="grow"><strong>{order.product}</strong><span class="soft small">{ORDERS[order.state]} · {price(order.amount, order.currency)} · {day(order.ordered_at)}</span></div>
              {order.checkout_url !== undefined ? <a class="button" href={order.checkout_url} rel="noreferrer">Pay</a> : null}
            </li>
          ))}
        </ul>
      ) : null}
      <label class="check">
        <input type="checkbox" checked={state.account?.business ?? false} disabled={business.busy || state.account === null}
          onChange={(event) => { const { checked } = event.currentTarget; void business.run(() => client.changeSettings({ business: checked })); }} />
        <span>This is a business account</span>
      </label>
      <p class="soft small">People who deal with it see that it is one.</p>
      <Failure error={business.error} />
    </section>
  );
}
