// jsforce against the sandbox: usage: node client.mjs URL USERNAME PASSWORD. Prints one JSON document of what it saw.
// jsforce is found through NODE_PATH's folder, which the test names in JSFORCE_FOLDER.
import { createRequire } from "node:module";

const require = createRequire(process.env.JSFORCE_FOLDER + "/");
const jsforce = require("jsforce");
const [url, username, password] = process.argv.slice(2);
const saw = {};

const connection = new jsforce.Connection({ loginUrl: url, version: "59.0" });
connection.bulk2.pollInterval = 10; // milliseconds
saw.login = await connection.login(username, password);
saw.limits = (await connection.request("/services/data/v59.0/limits")).DailyApiRequests;

// Queries: page by page, by hand and by itself.
let page = await connection.query("SELECT Id, Name FROM Campaign");
saw.pages = [];
for (;;) {
  saw.pages.push(page.records.length);
  if (page.done) break;
  page = await connection.queryMore(page.nextRecordsUrl);
}
saw.fetched = (await connection.query("SELECT Id FROM Campaign", { autoFetch: true, maxFetch: 1000 })).records.length;

// One record, and many.
const lead = connection.sobject("Lead");
saw.described = (await lead.describe()).fields.map((field) => field.name);
saw.created = await lead.create({ LastName: "Novak", Company: "Initech" });
saw.retrieved = await lead.retrieve(saw.created.id);
saw.updated = await lead.update({ Id: saw.created.id, FirstName: "Jana" });
saw.many = await lead.create([{ LastName: "One", Company: "Initech" }, { LastName: "Two" }]);
saw.upserted = [
  await lead.upsert({ Marketing_Key__c: "js", LastName: "Key", Company: "Initech" }, "Marketing_Key__c"),
  await lead.upsert({ Marketing_Key__c: "js", LastName: "Kay" }, "Marketing_Key__c"),
];
saw.destroyed = await lead.destroy(saw.many[0].id);
try {
  await lead.create({ LastName: "Nobody" });
} catch (error) {
  saw.refused = error.errorCode;
}

// Bulk 2.0.
saw.bulk = await connection.bulk2.loadAndWaitForResults({
  object: "Lead",
  operation: "insert",
  input: [{ LastName: "Bulk", Company: "Zoë \"quoted\", S.A." }, { LastName: "", Company: "Nameless" }],
  pollInterval: 10,
});
const stream = await connection.bulk2.query("SELECT Id, Company FROM Lead WHERE LastName = 'Bulk'", { pollInterval: 10 });
saw.found = await stream.toArray();
console.log(JSON.stringify(saw));
