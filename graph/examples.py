"""The operations in GraphiQL's tabs: the five-minute tour, in order."""

from typing import Any

TABS: list[dict[str, Any]] = [
    {
        "title": "1 Who am I",
        "query": """# Everything is documented: click a field, or open the docs on the left.
query Viewer {
  viewer { name role account { name } scopes }
  ghlLocations(first: 3) { totalCount nodes { id name status syncedAt } }
}
""",
    },
    {
        "title": "2 Connect an agency",
        "query": """# Open authorizationUrl in a new browser tab and press Allow: the sandbox plays GoHighLevel.
mutation Connect {
  startGhlAuthorization {
    authorizationUrl
    requestedScopes { name description }
    existingAccounts { id name status }
    userErrors { code message }
  }
}
""",
    },
    {
        "title": "3 Agencies",
        "query": """query Agencies {
  ghlAccounts {
    nodes {
      id name status missingScopes { name }
      lastTest { ok latencyMs failures }
      locations(first: 30) { totalCount nodes { id name status direction policy syncedAt } }
    }
  }
}
""",
    },
    {
        "title": "4 Start a sync",
        "query": """# Take a location's id from tab 3; Boston Dental Studio has 5,000 contacts.
mutation Sync($location: ID!) {
  startContactSync(input: {
    locationId: $location, direction: BIDIRECTIONAL, policy: MOST_RECENT_WINS
  }) {
    run { id }
    job { id state title }
    userErrors { code message ... on SyncAlreadyRunningError { job { id } } }
  }
}
""",
        "variables": '{ "location": "" }',
    },
    {
        "title": "5 Watch it live",
        "query": """# Put in the job's id of tab 4. Stop and give afterVersion to resume without a gap.
subscription Watch($job: ID!, $after: Int) {
  jobUpdated(id: $job, afterVersion: $after) {
    kind version
    event { at state phase done total message }
    job { state message progress { phase done total percent rate etaAt } }
  }
}
""",
        "variables": '{ "job": "", "after": null }',
    },
    {
        "title": "6 Contacts",
        "query": """query Contacts {
  contacts(first: 5, filter: { text: "chen" }, orderBy: NAME) {
    totalCount
    pageInfo { hasNextPage endCursor }
    nodes { id displayName email phone tags source syncState customFields { name value } refs { externalId isPrimary } }
  }
}
""",
    },
    {
        "title": "7 Jobs",
        "query": """query Jobs {
  jobs(first: 10) {
    nodes {
      id title state message progress { done total } attempt
      attempts { number outcome errorCode errorMessage }
      log(last: 5) { totalCount nodes { level code message subject } }
      subject { ... on SyncRun { created updated merged skipped conflicts pushed missing } }
    }
  }
}
""",
    },
    {
        "title": "8 Dashboard",
        "query": """query Dashboard {
  jobSummary { active queued waiting paused completed24h failed24h allPaused perKind { kind active queued completed24h } }
  jobQueue { waiting(first: 10) { nodes { id title priority isBoosted queuePosition } } }
  unreadNotificationCount
  notifications(first: 5) { nodes { title event url createdAt readAt } }
}
""",
    },
    {
        "title": "9 Schedules",
        "query": """# When would it run? Then make a workflow and a schedule of it with createWorkflow and createSchedule.
query Preview {
  previewSchedule(recurrence: { daily: { hour: 6 } }, zone: "America/New_York") {
    cron text
    runs { text at }
    userErrors { code message field }
  }
  schedules(first: 10) {
    nodes { name status nextRuns { text } fires(first: 3) { nodes { result durationSeconds message } } }
  }
}
""",
    },
]
