"""Every operation of the vendor that the sandbox plays."""

from domain.vendors.sandbox.gohighlevel import calendars, contact_details, contacts, locations, oauth, opportunities, people

ENDPOINTS = (
    *oauth.ENDPOINTS,
    *locations.ENDPOINTS,
    *contacts.ENDPOINTS,
    *contact_details.ENDPOINTS,
    *opportunities.ENDPOINTS,
    *calendars.ENDPOINTS,
    *people.ENDPOINTS,
)
