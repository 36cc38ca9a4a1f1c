// Walks through the sandbox with the vendor's own SDK; prints what it saw as JSON.
// node walk.cjs <folder with node_modules> <sandbox url> <authorisation code> <company id> <location id>
const path = require("node:path");
const { createRequire } = require("node:module");

const [modules, baseURL, code, companyId, locationId] = process.argv.slice(2);
const { HighLevel } = createRequire(path.join(modules, "package.json"))("@gohighlevel/api-client");

const credentials = { clientId: "app", clientSecret: "app-secret" };

function client(config) {
  const ghl = new HighLevel({ logLevel: "error", ...config });
  ghl.getHttpClient().defaults.baseURL = baseURL;
  return ghl;
}

async function refused(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return { status: error.statusCode ?? error.status ?? error.response?.status, message: error.message };
  }
}

async function main() {
  const seen = {};
  const app = client(credentials);
  const company = await app.oauth.getAccessToken({
    client_id: credentials.clientId,
    client_secret: credentials.clientSecret,
    grant_type: "authorization_code",
    code,
  });
  seen.userType = company.userType;
  const fresh = await app.oauth.refreshToken(
    company.refresh_token,
    credentials.clientId,
    credentials.clientSecret,
    "refresh_token",
    "Company",
  );
  seen.rotated = fresh.refresh_token !== company.refresh_token;

  const agency = client({ ...credentials, agencyAccessToken: fresh.access_token });
  seen.locations = (await agency.locations.searchLocations({ companyId, limit: "100" })).locations.length;
  seen.installed = (await agency.oauth.getInstalledLocation({ companyId, appId: "app" })).count;
  const location = await agency.oauth.getLocationAccessToken({ companyId, locationId });
  seen.locationId = location.locationId;

  const ghl = client({ ...credentials, locationAccessToken: location.access_token });
  const first = await ghl.contacts.searchContactsAdvanced({ locationId, pageLimit: 100 });
  const searchAfter = first.contacts.at(-1).searchAfter;
  const second = await ghl.contacts.searchContactsAdvanced({ locationId, pageLimit: 100, searchAfter });
  seen.total = first.total;
  seen.distinct = new Set([...first.contacts, ...second.contacts].map((contact) => contact.id)).size;

  const created = (await ghl.contacts.createContact({ locationId, firstName: "Sdk", email: "sdk@example.com" })).contact;
  const contactId = created.id;
  seen.read = (await ghl.contacts.getContact({ contactId })).contact.email;
  seen.updated = (await ghl.contacts.updateContact({ contactId }, { city: "Lyon" })).contact.city;
  seen.upserted = (await ghl.contacts.upsertContact({ locationId, email: "SDK@example.com" })).new;
  seen.tags = (await ghl.contacts.addTags({ contactId }, { tags: ["One", "Two"] })).tags;
  seen.tagsLeft = (await ghl.contacts.removeTags({ contactId }, { tags: ["one"] })).tags;
  seen.note = (await ghl.contacts.createNote({ contactId }, { body: "Hello" })).note.body;
  seen.duplicate = await refused(() => ghl.contacts.createContact({ locationId, email: "sdk@example.com" }));
  seen.deleted = (await ghl.contacts.deleteContact({ contactId })).succeded;

  seen.fields = (await ghl.locations.getCustomFields({ locationId, model: "all" })).customFields.length;
  const pipelines = (await ghl.opportunities.getPipelines({ locationId })).pipelines;
  seen.pipelines = pipelines.map((pipeline) => pipeline.name);
  seen.opportunities = (await ghl.opportunities.searchOpportunity({ locationId })).meta.total;
  const calendars = (await ghl.calendars.getCalendars({ locationId })).calendars;
  seen.calendars = calendars.length;
  const startDate = Date.UTC(2026, 0, 6);
  const slots = await ghl.calendars.getSlots({ calendarId: calendars[0].id, startDate, endDate: startDate + 86400000 });
  seen.slots = Object.keys(slots);
  seen.workflows = (await ghl.workflows.getWorkflow({ locationId })).workflows.length;
  seen.wrongClass = await refused(() => client({ ...credentials, locationAccessToken: fresh.access_token }).contacts.getContact({ contactId }));
  console.log(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
